import { Checkpoint, PullCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { checkDisplayName, parseProject, parseWorkloadName } from "#libs/names";
import type { RegistryClient } from "#libs/oci";
import type { HoldTarget } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { WantedVm } from "../jobs/made-vm.ts";
import type { ReceiveInput } from "../jobs/receive.ts";
import { treeOf } from "../records/checkpoint-store.ts";
import { isContainerName, workloadCodec } from "../records/workload-record.ts";
import { accepting } from "../requests/accepting.ts";
import { checkSettled, findVm } from "../requests/find-checkpoint.ts";
import { full, nameTaken } from "../requests/refusals.ts";
import { type CloneDeps, newUids } from "./clone.ts";
import { wantedContainer } from "./container-from-checkpoint.ts";
import { findRemote, type Remote } from "./find-remote.ts";
import { wantedVm } from "./vm-from-checkpoint.ts";

export interface PullDeps extends CloneDeps {
  readonly registry: RegistryClient;
  /** Checkpoints of one VM at most. */
  readonly limit: number;
}

/** Accepts the job that brings a checkpoint from the registry: as a new workload, or into the tree of one that exists. */
export async function pullCheckpoint(
  deps: PullDeps,
  request: PullCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const named = [request.vmId, request.containerId, request.workload].filter((name) => name !== "");
  if (named.length !== 1) {
    throw new StillpointError("ARGUMENT_INVALID", "name either a new VM or container or one that exists");
  }
  if (request.displayName !== "") checkDisplayName(request.displayName);
  const remote = await findRemote(deps.registry, request.reference);
  refuseOtherKind(remote, request);
  const displayName = request.displayName || remote.checkpoint.displayName;
  const input = {
    ...newUids(deps.random),
    source: { kind: "pull" as const, reference: remote.reference },
    checkpoint: Checkpoint.toJSON({ ...remote.checkpoint, displayName }) as Json,
    start: request.start,
  };
  const fingerprint = PullCheckpointRequest.toJSON({ ...request, requestId: "" }) as Json;
  const common = { request, call, input, named: { kind: "checkpoint.receive", fingerprint } };
  return request.workload === ""
    ? await asNewVm(deps, { ...common, remote })
    : await intoVm(deps, { ...common, displayName });
}

/** A checkpoint of a container makes no VM, and that of a VM no container. */
function refuseOtherKind({ kind }: Remote, { containerId, workload, reference }: PullCheckpointRequest): void {
  const wanted = containerId !== "" || isContainerName(workload) ? "container" : "vm";
  if (wanted === kind) return;
  const [is, not] = kind === "vm" ? ["a VM's", "a container"] : ["a container's", "a VM"];
  throw new StillpointError("CHECKPOINT_MISFIT", `${reference} is ${is} checkpoint, and ${not} cannot be made of it`);
}

type Input = Omit<ReceiveInput, "newVm" | "workload">;

interface Common {
  readonly request: PullCheckpointRequest;
  readonly call: CallScope;
  readonly input: Input;
  readonly named: { readonly kind: string; readonly fingerprint: Json };
}

/**
 * The new VM is held when it is there. The target is only named, and not as the VM: who makes the VM takes hold of that
 * name while this job waits for it.
 */
async function asNewVm(
  { operations }: PullDeps,
  { request, call, input, remote, named }: Common & { readonly remote: Remote },
): Promise<Operation> {
  const { requestId } = request;
  const project = parseProject(request.parent);
  const newVm = wantedWorkload(remote, project, request);
  const accepted = accepting(call, { target: `${newVm.name}/pull`, project, requestId });
  return operations.accept({ ...accepted, ...named, input: { ...input, newVm } }, { hold: false });
}

function wantedWorkload(
  remote: Remote,
  project: string,
  { vmId, containerId, ports }: PullCheckpointRequest,
): WantedVm {
  const { reference: fromCheckpoint } = remote;
  return remote.kind === "vm"
    ? wantedVm({ project, vmId }, VmSpec.fromPartial({ ...remote.spec, ports: [...ports], fromCheckpoint }))
    : wantedContainer({ project, containerId, ports }, { ...remote.spec, fromCheckpoint });
}

async function intoVm(
  deps: PullDeps,
  { request, call, input, displayName, named }: Common & { readonly displayName: string },
): Promise<Operation> {
  const { workload: name, requestId } = request;
  const vm = await findVm(deps, name);
  const { nodes } = treeOf(await deps.store.tree({ name, uid: vm.uid }));
  const workload = { name, uid: vm.uid, host: vm.body.host };
  const expect = (held: StoredRecord<Vm>) => {
    checkSettled(held);
    if (nodes.length >= deps.limit) throw full(name, deps.limit);
    if (nodes.some((node) => node.displayName === displayName)) throw nameTaken(name, displayName);
  };
  if (requestId === "") expect(vm);
  const hold: HoldTarget<Vm> = { codec: workloadCodec, uid: vm.uid, expect, missingReason: "VM_NOT_FOUND" };
  const accepted = accepting(call, { target: name, project: parseWorkloadName(name).project, requestId });
  return deps.operations.accept({ ...accepted, ...named, input: { ...input, workload, start: false } }, hold);
}
