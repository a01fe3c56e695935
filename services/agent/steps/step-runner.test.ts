import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { StepResult } from "#contracts/host/v1/agent";
import { eventually, temporaryFolder } from "#libs/testing";
import { journalsIn, StepRunner } from "./step-runner.ts";

const uid = "vm-01a2047d-106e-7476-bcac-5b9243595584";
const action = { $case: "startVm", value: {} } as const;
const request = (epoch: number, step = "start", operation = "op-1") => ({ uid, epoch, operation, step, action });
const answer: StepResult = { workload: undefined, checkpoint: undefined };

/** A runner whose actions are counted, and end when they are let. */
function runnerIn(folder: string) {
  const seen = { runs: 0, signal: new AbortController().signal };
  const held: PromiseWithResolvers<StepResult>[] = [];
  const runner = new StepRunner(
    journalsIn(folder),
    async ({ signal }) => {
      seen.runs++;
      seen.signal = signal;
      const work = Promise.withResolvers<StepResult>();
      held.push(work);
      return await work.promise;
    },
    nothingToHold,
  );
  const begun = () => eventually(() => held.shift(), { everyMs: 1 });
  return { runner, seen, begun };
}

test("a step that is asked for again joins, and later gets the stored answer, also from the next agent", async () => {
  await using folder = temporaryFolder();
  const { runner, seen, begun } = runnerIn(folder.path);
  await runner.fence(request(1));
  const first = await runner.run(request(1), action);
  const second = await runner.run(request(1), action);
  (await begun())?.resolve(answer);
  expect(await Promise.all([first.result, second.result])).toEqual([answer, answer]);
  await (await runner.run(request(1), action)).result;
  expect(seen.runs).toBe(1);

  const next = runnerIn(folder.path);
  expect(await next.runner.fence(request(2))).toEqual(["start"]);
  expect(await (await next.runner.run(request(2), action)).result).toEqual(answer);
  expect(next.seen.runs).toBe(0);
});

test("a step that failed may be tried again", async () => {
  await using folder = temporaryFolder();
  const { runner, seen, begun } = runnerIn(folder.path);
  await runner.fence(request(1));
  const failing = await runner.run(request(1), action);
  (await begun())?.reject(new Error("no"));
  await expect(failing.result).rejects.toThrow("no");
  const again = await runner.run(request(1), action);
  (await begun())?.resolve(answer);
  expect(await again.result).toEqual(answer);
  expect(seen.runs).toBe(2);
});

test("an epoch that was overtaken is refused, for a fence and for a step, also by the next agent", async () => {
  await using folder = temporaryFolder();
  await runnerIn(folder.path).runner.fence(request(5));
  const { runner } = runnerIn(folder.path);
  await expect(runner.fence(request(4))).rejects.toMatchObject({ reason: "EPOCH_STALE" });
  await expect(runner.run(request(4), action)).rejects.toMatchObject({ reason: "EPOCH_STALE" });
  await expect(runner.run(request(5, "start", "op-2"), action)).rejects.toMatchObject({ reason: "EPOCH_STALE" });
});

test("a fence asks the step that runs to yield, and waits for it", async () => {
  await using folder = temporaryFolder();
  const { runner, seen, begun } = runnerIn(folder.path);
  await runner.fence(request(1));
  const run = await runner.run(request(1), action);
  const work = await begun();
  let fenced = false;
  const fence = runner.fence(request(2, "", "op-2")).then(() => {
    fenced = true;
  });
  await eventually(() => seen.signal.aborted, { everyMs: 1 });
  expect(fenced).toBe(false);
  work?.resolve(answer);
  await Promise.all([fence, run.result]);
});

test("a last line that was cut off is as if it had not been written", async () => {
  await using folder = temporaryFolder();
  await runnerIn(folder.path).runner.fence(request(3));
  await appendFile(join(folder.path, `${uid}.jsonl`), '{"done":{"step":"sta');
  expect(await runnerIn(folder.path).runner.fence(request(4))).toEqual([]);
  expect(await runnerIn(folder.path).runner.fence(request(5))).toEqual([]);
});

const nothingToHold = async () => ({ [Symbol.dispose]: () => undefined });
