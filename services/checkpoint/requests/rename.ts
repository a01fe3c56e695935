import type { Checkpoint, RenameCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import { StillpointError } from "#libs/errors";
import { checkDisplayName } from "#libs/names";
import type { Operations } from "#libs/operations";
import { type FindDeps, type Found, findCheckpoint, toApi } from "./find-checkpoint.ts";
import { nameTaken, noCheckpoint } from "./refusals.ts";

export interface RenameDeps extends FindDeps {
  readonly operations: Pick<Operations, "get">;
}

/**
 * Gives a checkpoint another display name. Whatever makes a checkpoint holds the VM first and looks at the names then;
 * this writes the name first and looks then whether the VM is held: of two that want one name, one sees the other.
 */
export async function renameCheckpoint(deps: RenameDeps, request: RenameCheckpointRequest): Promise<Checkpoint> {
  const displayName = checkDisplayName(request.displayName);
  const found = await findCheckpoint(deps, request.name);
  const { name, body } = found.checkpoint;
  if (body.displayName === displayName) return toApi(found.checkpoint);
  await refuseUnlessFree(deps, found, displayName);
  const renamed = await rename(deps, found, displayName);
  try {
    await refuseUnlessFree(deps, await findCheckpoint(deps, name), displayName);
  } catch (error) {
    await rename(deps, found, body.displayName);
    throw error;
  }
  return renamed;
}

async function refuseUnlessFree({ operations }: RenameDeps, { vm, tree, checkpoint }: Found, displayName: string) {
  const isTaken = tree.checkpoints.some(({ uid, body }) => uid !== checkpoint.uid && body.displayName === displayName);
  if (isTaken) throw nameTaken(vm.name, displayName);
  const holder = vm.operation === undefined ? undefined : await operations.get(vm.operation);
  if (holder === undefined || holder.done) return;
  throw new StillpointError("TARGET_BUSY", `${vm.name} is busy with ${holder.kind}: ${holder.name}`, {
    metadata: { operation: holder.name },
  });
}

async function rename({ store }: RenameDeps, { vm, checkpoint }: Found, displayName: string): Promise<Checkpoint> {
  const stored = await store.records.modify(checkpoint.name, ({ name, body }) => {
    if (body.displayName === displayName) return undefined;
    const data = { name, workload: vm.name, from: body.displayName, to: displayName };
    const events = [{ aggregate: "checkpoint", happened: "renamed", data }];
    return { body: { ...body, displayName }, events };
  });
  if (stored === undefined) throw noCheckpoint(checkpoint.name);
  return toApi(stored);
}
