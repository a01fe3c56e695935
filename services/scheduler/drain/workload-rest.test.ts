import { expect, test } from "vitest";
import { Container, type ContainerState } from "#contracts/container/v1/container";
import { Operation } from "#contracts/operation/v1/operation";
import { Vm, type VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { bringToRest, type RestDeps } from "./workload-rest.ts";

const { signal } = new AbortController();
const container = "projects/default/containers/web";
const vm = "projects/default/vms/db";

/** Workloads that stop when they are asked to; what was asked is noted. */
function workloads(states: readonly Partial<Container>[], stops: readonly ("done" | "busy" | "refused")[] = []) {
  const asked: string[] = [];
  const left = [...stops];
  const seen = [...states];
  const stopped = async ({ name = "", requestId = "" }) => {
    asked.push(`stop ${name} ${requestId}`);
    const answer = left.shift() ?? "done";
    if (answer === "busy") throw new StillpointError("TARGET_BUSY", "it is busy");
    if (answer === "refused") throw new StillpointError("STOP_TIMED_OUT", "it does not power off");
    return Operation.fromPartial({});
  };
  const deps: RestDeps = {
    containers: {
      getContainer: async () => Container.fromPartial((seen.length > 1 ? seen.shift() : seen[0]) ?? {}),
      stopContainer: stopped,
    },
    vms: {
      getVm: async () => Vm.fromPartial({ name: vm, state: "VM_STATE_RUNNING" as VmState }),
      stopVm: stopped,
    },
    succeeded: async () => undefined,
    ended: async (operation) => void asked.push(`wait ${operation}`),
  };
  return { deps, asked };
}

const running = { state: "CONTAINER_STATE_RUNNING" as ContainerState };
const idle = { state: "CONTAINER_STATE_STOPPED" as ContainerState };

test("what runs is stopped, what does not is left alone", async () => {
  const { deps, asked } = workloads([running]);
  expect(await bringToRest(deps, "op-1", container, signal)).toEqual({ workload: container, became: "stopped" });
  expect(await bringToRest(deps, "op-1", vm, signal)).toEqual({ workload: vm, became: "stopped" });
  expect(asked).toEqual([
    `stop ${container} op-1-projects.default.containers.web-1`,
    `stop ${vm} op-1-projects.default.vms.db-1`,
  ]);
  const { deps: others } = workloads([idle]);
  expect(await bringToRest(others, "op-1", container, signal)).toMatchObject({ became: "idle" });
  const gone = {
    ...others.containers,
    getContainer: () => Promise.reject(new StillpointError("CONTAINER_NOT_FOUND", "")),
  };
  expect(await bringToRest({ ...others, containers: gone }, "op-1", container, signal)).toMatchObject({
    became: "idle",
  });
});

test("what is under way on it is waited for, also what was faster", async () => {
  const { deps, asked } = workloads([{ ...idle, operation: "operations/op-a" }, running, running], ["busy", "done"]);
  expect(await bringToRest(deps, "op-1", container, signal)).toMatchObject({ became: "stopped" });
  expect(asked.map((line) => line.split(" ")[0])).toEqual(["wait", "stop", "stop"]);
  const { deps: stubborn } = workloads([running], ["refused"]);
  await expect(bringToRest(stubborn, "op-1", container, signal)).rejects.toMatchObject({ reason: "STOP_TIMED_OUT" });
});

test("one that is to be moved is stopped, and it is said that it was not moved", async () => {
  const { deps } = workloads([Container.fromPartial({ ...running, spec: { drain: "DRAIN_POLICY_MOVE" } })]);
  const rested = await bringToRest(deps, "op-1", container, signal);
  expect(rested).toEqual({
    workload: container,
    became: "stopped",
    why: expect.stringContaining("not possible") as string,
  });
});
