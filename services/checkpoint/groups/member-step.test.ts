import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { StillpointError } from "#libs/errors";
import type { JobContext, Step } from "#libs/operations";
import { memberStep } from "./member-step.ts";
import type { GroupInput } from "./members.ts";

const vms = ["a", "b", "c"];
const context: JobContext<GroupInput> = {
  ...{ operationId: "op-1", target: "projects/p/groups/g", epoch: 1, principal: "local", outputs: {} },
  input: { groupUid: "group-1", members: vms.map((vm) => ({ vm, workloadUid: vm, checkpointUid: vm })) },
  signal: new AbortController().signal,
  progress: () => undefined,
};
const contexts = () => vms.map((target) => ({ ...context, target }));
const failsOn = (vm: string, target: string) => {
  if (target === vm) throw new StillpointError("HOST_UNREACHABLE", `${vm} does not answer`);
};

describe("a step of every member", () => {
  test("ends when all have ended, also when one failed before: its undo meets nothing that goes on", async () => {
    const slow = Promise.withResolvers<void>();
    const ended: string[] = [];
    const step: Step<GroupInput> = {
      name: "standard",
      async run({ target }) {
        failsOn("a", target);
        await slow.promise;
        ended.push(target);
        return undefined;
      },
    };
    let isOver = false;
    const run = memberStep(step, { contexts, together: true })
      .run(context)
      .finally(() => {
        isOver = true;
      });
    const failed = expect(run).rejects.toThrow("a does not answer");
    await setImmediate();
    expect(isOver).toBe(false);
    slow.resolve();
    await failed;
    expect(ended).toEqual(["b", "c"]);
  });

  test("is undone for all, last first, also when that fails for one", async () => {
    const undone: string[] = [];
    const step: Step<GroupInput> = {
      name: "production",
      run: async () => undefined,
      async undo({ target }) {
        failsOn("b", target);
        undone.push(target);
      },
    };
    await expect(memberStep(step, { contexts }).undo?.(context)).rejects.toThrow("b does not answer");
    expect(undone).toEqual(["c", "a"]);
  });

  test.each([
    ["applied", "b does not answer (a: applied already, and left so)"],
    [undefined, "b does not answer"],
  ])("names those that stay %s when it fails for another", async (stays, message) => {
    const step: Step<GroupInput> = {
      name: "apply",
      async run({ target }) {
        failsOn("b", target);
        return {};
      },
    };
    const run = memberStep(step, { contexts, ...(stays === undefined ? {} : { stays }) }).run(context);
    await expect(run).rejects.toMatchObject({ reason: "HOST_UNREACHABLE", message });
  });
});
