import { Container, ContainerState } from "#contracts/container/v1/container";
import { type Workload, WorkloadState } from "#contracts/host/v1/agent";
import { Vm, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { BodyCodec } from "#libs/records";
import type { Condition } from "../domain/policy.ts";
import { conditionOf } from "./contract-words.ts";

/**
 * Workloads of both kinds as checkpoints see them: a container has its volumes for disks and its pause window for a
 * freeze window. Only for reading: whoever holds or frees a workload leaves its body as it is.
 */
export const workloadCodec: BodyCodec<Vm> = {
  fromJSON(value) {
    const { name } = value as { readonly name?: string };
    return isContainerName(name ?? "") ? asVm(Container.fromJSON(value)) : Vm.fromJSON(value);
  },
  toJSON(body) {
    if (isContainerName(body.name)) throw new StillpointError("INTERNAL", `${body.name} is another service's to write`);
    return Vm.toJSON(body);
  },
};

export function isContainerName(name: string): boolean {
  return /^projects\/[^/]+\/containers\//.test(name);
}

/** A workload of either kind as its host sees it, in the policy's words. */
export function conditionOfWorkload({ state, container }: Workload): Condition | undefined {
  return container === undefined ? conditionOf(state) : conditions[container.state];
}

/** A workload of either kind as its host sees it, in the words for VMs. */
export function stateOf({ state, container }: Workload): WorkloadState {
  if (container === undefined) return state;
  return hostStates[container.state] ?? WorkloadState.UNSPECIFIED;
}

const hostStates: Partial<Record<ContainerState, WorkloadState>> = {
  [ContainerState.RUNNING]: WorkloadState.RUNNING,
  [ContainerState.PAUSED]: WorkloadState.PAUSED,
  [ContainerState.STOPPED]: WorkloadState.STOPPED,
  [ContainerState.EXITED]: WorkloadState.STOPPED,
};

/** One that ended by itself has closed its files, or had them closed: nothing that it wrote is lost. */
const conditions: Partial<Record<ContainerState, Condition>> = {
  [ContainerState.RUNNING]: "running",
  [ContainerState.PAUSED]: "paused",
  [ContainerState.STOPPED]: "off",
  [ContainerState.EXITED]: "off",
};

const states: Partial<Record<ContainerState, VmState>> = {
  [ContainerState.CREATING]: VmState.CREATING,
  [ContainerState.RUNNING]: VmState.RUNNING,
  [ContainerState.RESTARTING]: VmState.RUNNING,
  [ContainerState.PAUSED]: VmState.PAUSED,
  [ContainerState.STOPPED]: VmState.STOPPED,
  [ContainerState.EXITED]: VmState.STOPPED,
  [ContainerState.DELETING]: VmState.DELETING,
  [ContainerState.FAILED]: VmState.FAILED,
};

/** A container's own record, behind its likeness to a VM; undefined for a VM. */
export function containerOf(body: Vm): Container | undefined {
  return (body as Partial<ContainerAsVm>).container;
}

interface ContainerAsVm extends Vm {
  readonly container: Container;
}

function asVm(container: Container): ContainerAsVm {
  const { name, uid, host, state, labels, spec, checkpointStorage } = container;
  const disks = (spec?.volumes ?? []).filter(({ volume }) => volume !== "");
  const likeness = Vm.fromPartial({
    ...{ name, uid, host, labels, state: states[state] ?? VmState.UNSPECIFIED },
    ...(checkpointStorage && { checkpointStorage }),
    spec: {
      ...(spec?.checkpointType && { checkpointType: spec.checkpointType }),
      ...(spec?.pauseWindow && { freezeWindow: spec.pauseWindow }),
      disks: disks.map(({ volume, excludeFromCheckpoints }) => ({ id: volume, sizeBytes: 0, excludeFromCheckpoints })),
    },
  });
  return { ...likeness, container };
}
