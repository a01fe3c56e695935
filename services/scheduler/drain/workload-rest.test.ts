import { expect, test } from "vitest";
import { Container, type ContainerState, type DrainPolicy } from "#contracts/container/v1/container";
import { Operation } from "#contracts/operation/v1/operation";
import { Vm, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { bringToRest, type RestDeps } from "./workload-rest.ts";

const drain = { operationId: "op-1", target: "hosts/n1", signal: new AbortController().signal };
const container = "projects/default/containers/web";
const vm = "projects/default/vms/db";

/** Workloads that stop when they are asked to; what was asked is noted. */
function workloads(
  states: readonly Partial<Container>[],
  stops: readonly ("done" | "busy" | "refused")[] = [],
  cannotMove?: StillpointError,
) {
  const asked: string[] = [];
  const left = [...stops];
  const seen = [...states];
  const move = async ({ requestId = "" }) => {
    asked.push(`move ${requestId}`);
    if (cannotMove !== undefined) throw cannotMove;
    return Operation.fromPartial({ output: { to: "hosts/n2" } });
  };
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
      moveContainer: move,
    },
    vms: {
      getVm: async () => Vm.fromPartial({ name: vm, state: "VM_STATE_RUNNING" as VmState }),
      stopVm: stopped,
      moveVm: move,
    },
    succeeded: async (operation) => operation,
    ended: async (operation) => void asked.push(`wait ${operation}`),
  };
  return { deps, asked };
}

const running = { state: "CONTAINER_STATE_RUNNING" as ContainerState };
const idle = { state: "CONTAINER_STATE_STOPPED" as ContainerState };

test("what runs is stopped, what does not is left alone", async () => {
  const { deps, asked } = workloads([running]);
  expect(await bringToRest(deps, drain, container)).toEqual({ workload: container, became: "stopped" });
  expect(await bringToRest(deps, drain, vm)).toEqual({ workload: vm, became: "stopped" });
  expect(asked).toEqual([
    `stop ${container} op-1-projects.default.containers.web-1`,
    `stop ${vm} op-1-projects.default.vms.db-1`,
  ]);
  const { deps: others } = workloads([idle]);
  expect(await bringToRest(others, drain, container)).toMatchObject({ became: "idle" });
  const gone = {
    ...others.containers,
    getContainer: () => Promise.reject(new StillpointError("CONTAINER_NOT_FOUND", "")),
  };
  expect(await bringToRest({ ...others, containers: gone }, drain, container)).toMatchObject({
    became: "idle",
  });
});

test("what is under way on it is waited for, also what was faster", async () => {
  const { deps, asked } = workloads([{ ...idle, operation: "operations/op-a" }, running, running], ["busy", "done"]);
  expect(await bringToRest(deps, drain, container)).toMatchObject({ became: "stopped" });
  expect(asked.map((line) => line.split(" ")[0])).toEqual(["wait", "stop", "stop"]);
  const { deps: stubborn } = workloads([running], ["refused"]);
  await expect(bringToRest(stubborn, drain, container)).rejects.toMatchObject({ reason: "STOP_TIMED_OUT" });
});

const mobile = { host: "hosts/n1", spec: { drain: "DRAIN_POLICY_MOVE" as DrainPolicy } } as Container;

test("one that asks for it is moved, whether it runs or not; one that has left already is left alone", async () => {
  for (const state of [running, idle]) {
    const { deps, asked } = workloads([{ ...mobile, ...state }]);
    const rested = await bringToRest(deps, drain, container);
    expect(rested).toEqual({ workload: container, became: "moved", to: "hosts/n2" });
    expect(asked).toEqual(["move op-1-projects.default.containers.web-1-move"]);
  }
  const { deps: others, asked: moves } = workloads([]);
  const mobileVm = Vm.fromPartial({ state: VmState.RUNNING, host: "hosts/n1", spec: { drain: "DRAIN_POLICY_MOVE" } });
  const vms = { ...others.vms, getVm: async () => mobileVm };
  expect(await bringToRest({ ...others, vms }, drain, vm)).toEqual({ workload: vm, became: "moved", to: "hosts/n2" });
  expect(moves).toEqual(["move op-1-projects.default.vms.db-1-move"]);
  const { deps, asked } = workloads([{ ...mobile, ...running, host: "hosts/n2" }]);
  expect(await bringToRest(deps, drain, container)).toEqual({ workload: container, became: "idle" });
  expect(asked).toEqual([]);
});

test("one that cannot be moved is stopped, and it is said why", async () => {
  const why = "NO_HOST_FITS: no host fits";
  const nowhere = new StillpointError("NO_HOST_FITS", "no host fits");
  const { deps, asked } = workloads([{ ...mobile, ...running }], [], nowhere);
  expect(await bringToRest(deps, drain, container)).toEqual({ workload: container, became: "stopped", why });
  expect(asked.map((line) => line.split(" ")[0])).toEqual(["move", "stop"]);
  const { deps: off } = workloads([{ ...mobile, ...idle }], [], nowhere);
  expect(await bringToRest(off, drain, container)).toEqual({ workload: container, became: "idle", why });
  const gone = new StillpointError("UNAVAILABLE", "nobody answers");
  const { deps: away } = workloads([{ ...mobile, ...running }], [], gone);
  await expect(bringToRest(away, drain, container)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
});
