import { Checkpoint, CheckpointState, CloneCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import type { Random } from "#libs/clock";
import { parseProject, parseVmName } from "#libs/names";
import type { HoldTarget, Operations } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { accepting } from "./accepting.ts";
import { type FindDeps, type Found, findCheckpoint } from "./find-checkpoint.ts";
import type { ReceiveInput } from "./jobs/receive.ts";
import type { Source } from "./jobs/receive-state.ts";
import { notReady, refuseContainer } from "./refusals.ts";
import { vmLike } from "./vm-from-checkpoint.ts";

export interface CloneDeps extends FindDeps {
  readonly operations: Pick<Operations, "accept">;
  readonly random: Random;
}

/** Accepts the job that makes a VM from a checkpoint; it holds the checkpoint, not its VM. */
export async function cloneCheckpoint(
  deps: CloneDeps,
  request: CloneCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { name, vmId, fullCopy, start, ports, requestId } = request;
  const found = await findCheckpoint(deps, name);
  refuseContainer(found.vm.name, "a clone");
  const own = parseVmName(found.vm.name).project;
  const project = request.project === "" ? own : parseProject(request.project);
  const input: ReceiveInput = {
    ...newUids(deps.random),
    source: cloneSource(found, fullCopy),
    checkpoint: Checkpoint.toJSON(carriedOver(found.checkpoint.body)) as Json,
    newVm: vmLike(found.vm.body, found.checkpoint.name, { project, vmId }, { ports }),
    start,
  };
  const accepted = accepting(call, { target: found.checkpoint.name, project: own, requestId });
  const fingerprint = CloneCheckpointRequest.toJSON({ ...request, requestId: "" }) as Json;
  const kind = "checkpoint.receive";
  return deps.operations.accept({ ...accepted, kind, input: { ...input }, fingerprint }, holdReady(found));
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
