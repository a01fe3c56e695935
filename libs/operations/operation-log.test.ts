import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { MemoryLeases } from "#libs/locks";
import { silentLogger as logger } from "#libs/logger";
import { createMemoryLog, type LogMessage } from "#libs/records";
import { MemoryJobQueue } from "./memory-job-queue.ts";
import { MemoryJobState } from "./memory-job-state.ts";
import { Operations } from "./operations.ts";

const never = new AbortController().signal;

/** Operations whose log is read from a node that has heard of nothing since it was cut off, with one that was accepted since. */
async function startCutOff(newest?: () => Promise<LogMessage[]>) {
  const stop = new AbortController();
  const log = createMemoryLog(clock, { maxPerSubject: 1 });
  const parts = { records: createMemoryLog(clock), jobState: new MemoryJobState(), clock, random, logger };
  const shared = { ...parts, jobs: new MemoryJobQueue(clock), leases: new MemoryLeases(parts), signal: stop.signal };
  const ops = Object.assign(Object.create(log) as typeof log, {
    read: async () => undefined,
    follow: async function* () {
      await new Promise((resolve) => stop.signal.addEventListener("abort", resolve, { once: true }));
      yield* [];
    },
    newest: newest ?? ((filter: string) => log.newest(filter)),
  });
  const operations = await Operations.start({ ...shared, ops });
  const others = await Operations.start({ ...shared, ops: log });
  const asked = { kind: "vm.stop", target: "", input: {}, principal: "local", project: "default" };
  const { name } = await others.accept(asked);
  return { operations, id: name.slice("operations/".length), [Symbol.asyncDispose]: async () => stop.abort() };
}

test("what one node has not heard of is looked for where most agree", async () => {
  await using world = await startCutOff();
  const { operations, id } = world;
  expect(await operations.get(id)).toMatchObject({ name: `operations/${id}`, done: false });
  for await (const { name } of operations.watch(id, never)) {
    expect(name).toBe(`operations/${id}`);
    break;
  }
  await expect(operations.get("op-0")).resolves.toBeUndefined();
  await expect(operations.cancel("op-0")).rejects.toMatchObject({ reason: "OPERATION_NOT_FOUND" });
});

test("where most do not answer nobody is told that there is none", async () => {
  const away = async () => {
    throw new StillpointError("UNAVAILABLE", "there is no leader");
  };
  await using world = await startCutOff(away);
  const { operations, id } = world;
  await expect(operations.get(id)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  await expect(operations.cancel(id)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  await expect(operations.watch(id, never)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    reason: "UNAVAILABLE",
  });
});
