import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StillpointError } from "#libs/errors";
import { isTerminal, type OperationRecord } from "./operation-record.ts";
import * as move from "./operation-state.ts";

const run = async () => undefined;
const job = { steps: ["one", "two"].map((name) => ({ name, run })), conclude: run };
const bare = { steps: job.steps };
const error = new StillpointError("QEMU_FAILED", "broken");
const done = { output: undefined, skipped: false };

const pending: OperationRecord = {
  ...{ id: "op-1", kind: "vm.create", target: "", principal: "local", project: "default", fingerprint: "", input: {} },
  ...{ createTime: "", updateTime: "", write: "" },
  ...{ state: "pending", phase: "steps", step: "", attempt: 0, skipped: [], outputs: {}, acquire: {} },
};

const moved = (...transitions: move.Transition[]) => transitions.reduce((record, next) => next(record), pending);
const claim = move.claimed(job, "w1");
const short = ({ state, phase, step, attempt }: OperationRecord) => [state, phase, step, attempt].join(" ");

describe("the life of an operation", () => {
  test.each([
    ["claimed", [claim], "running steps one 1"],
    ["first step done", [claim, move.stepDone(job, done)], "running steps two 1"],
    ["all done", [claim, move.stepDone(job, done), move.stepDone(job, done)], "running conclude two 1"],
    [
      "concluded",
      [claim, move.stepDone(job, done), move.stepDone(job, done), move.concluded({})],
      "succeeded conclude two 1",
    ],
    ["failed", [claim, move.stepDone(job, done), move.failed(error, true)], "running undo two 1"],
    [
      "half undone",
      [claim, move.stepDone(job, done), move.failed(error, true), move.stepUndone(job)],
      "running undo one 1",
    ],
    ["undone", [claim, move.failed(error, true), move.stepUndone(job)], "running conclude one 1"],
    [
      "failed and concluded",
      [claim, move.failed(error, true), move.stepUndone(job), move.concluded({})],
      "failed conclude one 1",
    ],
    [
      "not to be undone",
      [claim, move.failed(error, true), move.undoFailed(job, error), move.concluded({})],
      "needs_attention conclude one 1",
    ],
    ["refused", [move.refused(error)], "failed steps  0"],
    ["taken over", [claim, move.claimed(job, "w2")], "running steps one 2"],
    ["given up and taken", [claim, move.givenUp, move.claimed(job, "w2")], "running steps one 2"],
  ] as const)("%s", (_name, transitions, expected) => {
    expect(short(moved(...transitions))).toBe(expected);
  });

  test("ends with its last step when there is nothing to conclude", () => {
    const last = move.stepDone(bare, { output: { ip: "10.0.0.1" }, skipped: false });
    const ended = moved(move.claimed(bare, "w"), move.stepDone(bare, done), last);
    expect(ended).toMatchObject({
      state: "succeeded",
      output: { ip: "10.0.0.1" },
      outputs: { two: { ip: "10.0.0.1" } },
    });
    expect(ended.claim).toBeUndefined();
  });

  test("a cancelled one ends as cancelled, and a step that was not begun is not undone", () => {
    const cancelled = new StillpointError("OPERATION_CANCELLED", "cancelled");
    const undoing = moved(claim, move.cancelAsked, move.failed(cancelled, false));
    expect(undoing.skipped).toEqual(["one"]);
    expect(move.concluded(undefined)(move.stepUndone(job)(undoing)).state).toBe("cancelled");
  });

  test("never changes once it has ended, and ends within as many moves as it has steps", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1), { minLength: 8, maxLength: 8 }), (choices) => {
        const record = choices.reduce(moveOn, moved(claim));
        expect(isTerminal(record)).toBe(true);
        for (const next of [...Object.values(legal).flat(), claim, move.cancelAsked, move.touched, move.givenUp]) {
          expect(() => next(record)).toThrow("has ended");
        }
      }),
    );
  });
});

/** What a worker may do in each phase. */
const legal = {
  steps: [move.stepDone(job, done), move.failed(error, true)],
  undo: [move.stepUndone(job), move.undoFailed(job, error)],
  conclude: [move.concluded({}), move.concludeFailed(error)],
};

function moveOn(record: OperationRecord, choice: number): OperationRecord {
  const next = legal[record.phase][choice];
  return isTerminal(record) || next === undefined ? record : next(record);
}
