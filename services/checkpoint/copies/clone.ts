import { Checkpoint, CheckpointState, CloneCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Container } from "#contracts/container/v1/container";
import type { Operation } from "#contracts/operation/v1/operation";
import type { Random } from "#libs/clock";
import { parseProject, parseWorkloadName } from "#libs/names";
import type { HoldTarget, Operations } from "#libs/operations";
import type { Json, RecordStore, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { WantedVm } from "../jobs/made-vm.ts";
import type { ReceiveInput } from "../jobs/receive.ts";
import type { Source } from "../jobs/receive-state.ts";
import { isContainerName } from "../records/workload-record.ts";
import { accepting } from "../requests/accepting.ts";
import { type FindDeps, type Found, findCheckpoint } from "../requests/find-checkpoint.ts";
import { notReady, noWorkload, refuseMemory } from "../requests/refusals.ts";
import { containerLike } from "./container-from-checkpoint.ts";
import { vmLike } from "./vm-from-checkpoint.ts";

export interface CloneDeps extends FindDeps {
  /** Only for reading. */
  readonly containers: Pick<RecordStore<Container>, "get">;
  readonly operations: Pick<Operations, "accept">;
  readonly random: Random;
}

/** Accepts the job that makes a VM or container from a checkpoint; it holds the checkpoint, not its workload. */
export async function cloneCheckpoint(
  deps: CloneDeps,
  request: CloneCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { name, fullCopy, start, requestId } = request;
  const found = await findCheckpoint(deps, name);
  refuseMemory(found.checkpoint.body);
  const own = parseWorkloadName(found.vm.name).project;
  const project = request.project === "" ? own : parseProject(request.project);
  const input: ReceiveInput = {
    ...newUids(deps.random),
    source: cloneSource(found, fullCopy),
    checkpoint: Checkpoint.toJSON(carriedOver(found.checkpoint.body)) as Json,
    newVm: await workloadLike(deps, found, project, request),
    start,
  };
  const accepted = accepting(call, { target: found.checkpoint.name, project: own, requestId });
  const fingerprint = CloneCheckpointRequest.toJSON({ ...request, requestId: "" }) as Json;
  const kind = "checkpoint.receive";
  return deps.operations.accept({ ...accepted, kind, input: { ...input }, fingerprint }, holdReady(found));
}

/** A workload of the same kind. */
async function workloadLike(
  { containers }: CloneDeps,
  { vm, checkpoint }: Found,
  project: string,
  { vmId, ports }: CloneCheckpointRequest,
): Promise<WantedVm> {
  if (!isContainerName(vm.name)) return vmLike(vm.body, checkpoint.name, { project, vmId }, { ports });
  const source = await containers.get(vm.name);
  if (source?.uid !== vm.uid) throw noWorkload(vm.name);
  return containerLike(source.body, checkpoint.name, { project, containerId: vmId, ports });
}

/** A checkpoint on the host where the new VM will be. */
export function cloneSource({ vm, checkpoint }: Found, fullCopy: boolean): Source {
  return {
    kind: "clone",
    checkpoint: checkpoint.name,
    checkpointUid: checkpoint.uid,
    workloadUid: vm.uid,
    fullCopy,
  };
}

/** Ids that are decided when a request is accepted. */
export const newUids = (random: Random) => ({
  checkpointUid: random.id("ckpt"),
  generationId: random.id("gen").slice("gen-".length),
});

/** Holds a checkpoint that is ready, so that nobody deletes it meanwhile. */
export function holdReady({ checkpoint }: Found): HoldTarget<Checkpoint> {
  const expect = ({ name, body }: StoredRecord<Checkpoint>) => {
    if (body.state !== CheckpointState.READY) throw notReady(name);
  };
  return { codec: Checkpoint, uid: checkpoint.uid, expect, missingReason: "CHECKPOINT_NOT_FOUND" };
}

/** What of a checkpoint holds wherever it is: not where it stands, who holds it, or what was done with it there. */
function carriedOver(checkpoint: Checkpoint): Checkpoint {
  const { displayName, kind, consistency, requestedType, fellBack, reason, receipt, createTime } = checkpoint;
  const { excludedDisks } = checkpoint;
  const told = { displayName, kind, consistency, requestedType, fellBack, reason, excludedDisks };
  return Checkpoint.fromPartial({ ...told, ...(receipt && { receipt }), ...(createTime && { createTime }) });
}
