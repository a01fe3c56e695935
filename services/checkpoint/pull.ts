import { Checkpoint, PullCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { Vm, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { checkDisplayName, parseProject, parseVmName, vmName } from "#libs/names";
import type { RegistryClient } from "#libs/oci";
import type { HoldTarget } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { accepting } from "./accepting.ts";
import { treeOf } from "./checkpoint-store.ts";
import { type CloneDeps, newUids } from "./clone.ts";
import { checkSettled, findVm } from "./find-checkpoint.ts";
import type { ReceiveInput } from "./jobs/receive.ts";
import { full, nameTaken, refuseContainer } from "./refusals.ts";
import { type FoundRemote, findRemote } from "./remote-checkpoint.ts";
import { wantedVm } from "./vm-from-checkpoint.ts";

export interface PullDeps extends CloneDeps {
  readonly registry: RegistryClient;
  /** Checkpoints of one VM at most. */
  readonly limit: number;
}

/** Accepts the job that brings a checkpoint from the registry: as a new VM, or into the tree of one that exists. */
export async function pullCheckpoint(
  deps: PullDeps,
  request: PullCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  if ((request.vmId === "") === (request.workload === "")) {
    throw new StillpointError("ARGUMENT_INVALID", "name either a new VM or one that exists");
  }
  if (request.displayName !== "") checkDisplayName(request.displayName);
  const remote = await findRemote(deps.registry, request.reference);
  const displayName = request.displayName || remote.checkpoint.displayName;
  const input = {
    ...newUids(deps.random),
    source: { kind: "pull" as const, reference: remote.reference },
    checkpoint: Checkpoint.toJSON({ ...remote.checkpoint, displayName }) as Json,
    start: request.start,
  };
  const fingerprint = PullCheckpointRequest.toJSON({ ...request, requestId: "" }) as Json;
  const named = { kind: "checkpoint.receive", fingerprint };
  return request.vmId === ""
    ? await intoVm(deps, { request, call, input, displayName, named })
    : await asNewVm(deps, { request, call, input, remote, named });
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
  { request, call, input, remote, named }: Common & { readonly remote: FoundRemote },
): Promise<Operation> {
  const { vmId, requestId, ports } = request;
  const project = parseProject(request.parent);
  const spec = VmSpec.fromPartial({ ...remote.spec, ports: [...ports], fromCheckpoint: remote.reference });
  const newVm = wantedVm({ project, vmId }, spec);
  const accepted = accepting(call, { target: `${vmName(project, vmId)}/pull`, project, requestId });
  return operations.accept({ ...accepted, ...named, input: { ...input, newVm } }, { hold: false });
}

async function intoVm(
  deps: PullDeps,
  { request, call, input, displayName, named }: Common & { readonly displayName: string },
): Promise<Operation> {
  const { workload: name, requestId } = request;
  const vm = await findVm(deps, name);
  const { nodes } = treeOf(await deps.store.tree({ name, uid: vm.uid }));
  refuseContainer(name, "a pull");
  const workload = { name, uid: vm.uid, host: vm.body.host };
  const expect = (held: StoredRecord<Vm>) => {
    checkSettled(held);
    if (nodes.length >= deps.limit) throw full(name, deps.limit);
    if (nodes.some((node) => node.displayName === displayName)) throw nameTaken(name, displayName);
  };
  if (requestId === "") expect(vm);
  const hold: HoldTarget<Vm> = { codec: Vm, uid: vm.uid, expect, missingReason: "VM_NOT_FOUND" };
  const accepted = accepting(call, { target: name, project: parseVmName(name).project, requestId });
  return deps.operations.accept({ ...accepted, ...named, input: { ...input, workload, start: false } }, hold);
}
