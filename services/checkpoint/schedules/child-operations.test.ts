import { expect, test } from "vitest";
import { Operation, OperationState } from "#contracts/operation/v1/operation";
import { StillpointError } from "#libs/errors";
import { runChild } from "./child-operations.ts";

const signal = new AbortController().signal;

function deps() {
  const slept: number[] = [];
  const clock = {
    now: () => new Date(0),
    monotonicMs: () => 0,
    sleep: async (ms: number) => {
      slept.push(ms);
    },
  };
  const operations = {
    async *watch(id: string) {
      yield Operation.fromPartial({ name: `operations/${id}`, state: OperationState.RUNNING });
      yield Operation.fromPartial({ name: `operations/${id}`, state: OperationState.SUCCEEDED, done: true });
    },
  };
  return { slept, clock, operations };
}

test("asks again while the VM is busy, each time by another request id, and gives the operation as it ended", async () => {
  const { slept, ...rest } = deps();
  const asked: string[] = [];
  const ask = async (requestId: string) => {
    asked.push(requestId);
    if (asked.length < 3) throw new StillpointError("TARGET_BUSY", "it is busy");
    return Operation.fromPartial({ name: "operations/op-1" });
  };
  const ended = await runChild(rest, { key: "run take", ask, signal });
  expect(ended).toMatchObject({ name: "operations/op-1", done: true });
  expect(asked).toEqual(["run take 1", "run take 2", "run take 3"]);
  expect(slept).toEqual([5_000, 5_000]);
});

test("gives a VM up that stays busy, and does not ask again after any other refusal", async () => {
  const { slept, ...rest } = deps();
  const busy = async () => {
    throw new StillpointError("TARGET_BUSY", "it is busy");
  };
  await expect(runChild(rest, { key: "k", ask: busy, signal })).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(115_000);
  const refused = async () => {
    throw new StillpointError("CHECKPOINT_LIMIT", "it is full");
  };
  await expect(runChild(rest, { key: "k", ask: refused, signal })).rejects.toMatchObject({
    reason: "CHECKPOINT_LIMIT",
  });
  expect(slept).toHaveLength(23);
});
