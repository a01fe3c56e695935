import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { temporaryFolder } from "#libs/testing";
import { forgetJournals } from "./forget-journals.ts";
import { journalsIn, StepRunner } from "./step-runner.ts";

const uidOf = (digit: number) => `vm-01a2047d-106e-7476-bcac-5b924359558${digit}`;

test("a journal is removed a day after the last word on a workload that is gone, and no other", async () => {
  await using folder = temporaryFolder();
  const steps = new StepRunner(
    journalsIn(folder.path),
    async () => ({ workload: undefined, checkpoint: undefined }),
    nothingToHold,
  );
  const [gone, lately, there] = [uidOf(1), uidOf(2), uidOf(3)];
  for (const uid of [gone, lately, there]) await steps.fence({ uid, epoch: 7, operation: "op-1" });
  const dayAgo = new Date(Date.now() - 25 * 3_600_000);
  for (const uid of [gone, there]) await utimes(join(folder.path, `${uid}.jsonl`), dayAgo, dayAgo);
  const once = new AbortController();
  const clock = { ...systemClock, sleep: async () => once.abort() };
  await forgetJournals({ journals: folder.path, steps, exists: (uid) => uid === there, clock }, once.signal);
  expect((await readdir(folder.path)).toSorted()).toEqual([`${lately}.jsonl`, `${there}.jsonl`]);
  expect(await steps.epochOf(gone)).toBe(0);
});

const nothingToHold = async () => ({ [Symbol.dispose]: () => undefined });
