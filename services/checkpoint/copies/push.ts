import type { PushCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { parseWorkloadName } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import type { PushInput } from "../jobs/push.ts";
import { accepting } from "../requests/accepting.ts";
import { findCheckpoint } from "../requests/find-checkpoint.ts";
import { refuseMemory } from "../requests/refusals.ts";
import { type CloneDeps, holdReady } from "./clone.ts";
import { pushTarget } from "./push-reference.ts";

/** Accepts the job that sends a checkpoint to the registry; it holds the checkpoint, not its VM. */
export async function acceptPush(
  deps: CloneDeps,
  { name, reference, requestId }: PushCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const found = await findCheckpoint(deps, name);
  const { checkpoint, vm } = found;
  refuseMemory(checkpoint.body);
  const { project } = parseWorkloadName(vm.name);
  const { uid } = checkpoint;
  const target = pushTarget(reference, { workload: vm.name, uid, displayName: checkpoint.body.displayName });
  const input: PushInput = { workload: vm.name, workloadUid: vm.uid, checkpointUid: uid, ...target };
  const accepted = accepting(call, { target: checkpoint.name, project, requestId });
  const fingerprint = { name, reference };
  return deps.operations.accept(
    { ...accepted, kind: "checkpoint.push", input: { ...input }, fingerprint },
    holdReady(found),
  );
}
