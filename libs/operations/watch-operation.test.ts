import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { startRunner } from "./index.ts";
import { startMemoryOperations } from "./testing/memory-operations.ts";

test("a watch that has ended leaves nothing on its caller's signal", async () => {
  await using world = await startMemoryOperations();
  const request = { kind: "vm.probe", target: "", input: {}, principal: "local", project: "default" };
  const { name } = await world.operations.accept(request);
  const { signal } = new AbortController();
  const watching = world.operations.watch(name.slice("operations/".length), signal)[Symbol.asyncIterator]();
  expect((await watching.next()).value?.done).toBe(false);
  const runner = startRunner(world.operations, { jobs: [{ kind: "vm.probe", steps: [] }] });
  for (let next = await watching.next(); next.done !== true; ) next = await watching.next();
  expect(getEventListeners(signal, "abort")).toEqual([]);
  await runner.close();
});
