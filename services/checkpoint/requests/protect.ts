import { type Checkpoint, CheckpointState, type ProtectCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import { type FindDeps, findCheckpoint, toApi } from "./find-checkpoint.ts";
import { noCheckpoint, notReady } from "./refusals.ts";

/** Protects a checkpoint, or no longer does. One that is being deleted is refused: its deletion has seen that it may. */
export async function protectCheckpoint(deps: FindDeps, request: ProtectCheckpointRequest): Promise<Checkpoint> {
  const { vm, checkpoint } = await findCheckpoint(deps, request.name);
  const stored = await deps.store.records.modify(checkpoint.name, ({ name, body }) => {
    if (body.state !== CheckpointState.READY) throw notReady(name);
    if (body.protected === request.protected) return undefined;
    const happened = request.protected ? "protected" : "unprotected";
    const data = { name, workload: vm.name, displayName: body.displayName };
    return { body: { ...body, protected: request.protected }, events: [{ aggregate: "checkpoint", happened, data }] };
  });
  if (stored === undefined) throw noCheckpoint(checkpoint.name);
  return toApi(stored);
}
