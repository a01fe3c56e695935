import type { ApplyCheckpointRequest, DeleteCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { StillpointError } from "#libs/errors";
import { checkDisplayName, workloadOf } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import { subtreeOf } from "../domain/tree.ts";
import type { ApplyInput } from "../jobs/apply.ts";
import type { DeleteInput } from "../jobs/delete.ts";
import { treeOf } from "../records/checkpoint-store.ts";
import { type AcceptDeps, accept, acceptOrRepeat, asked, checkHere, checkReady, inputOf } from "./accept.ts";
import { newCheckpoint } from "./accept-create.ts";
import { findCheckpoint } from "./find-checkpoint.ts";
import { isProtected } from "./refusals.ts";

/** Checks a request to bring a VM back, and accepts the job; with `checkpointFirst` it takes a checkpoint before. */
export async function acceptApply(
  deps: AcceptDeps,
  request: ApplyCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { name, requestId, checkpointFirst, firstDisplayName } = request;
  checkFirst(request);
  const fingerprint = { name, checkpointFirst, firstDisplayName };
  const kind = "checkpoint.apply";
  const named = asked(call, { target: workloadOf(name), requestId }, { kind, fingerprint });
  return acceptOrRepeat(deps, named, async () => {
    const found = await findCheckpoint(deps, name);
    const wanted = { displayName: firstDisplayName, excludeDisks: [] };
    const first = checkpointFirst
      ? await newCheckpoint(deps, { vm: found.vm, tree: treeOf(found.tree) }, wanted)
      : undefined;
    const input: ApplyInput = {
      ...inputOf(found),
      generationId: deps.random.id("gen").slice("gen-".length),
      ...(first === undefined ? {} : { first: first.input }),
    };
    return accept(deps, { ...named, input: { ...input } }, found.vm, (held) => {
      checkReady(held, found);
      checkHere(held, found);
      first?.check(held);
    });
  });
}

function checkFirst({ checkpointFirst, firstDisplayName }: ApplyCheckpointRequest): void {
  if (firstDisplayName === "") return;
  checkDisplayName(firstDisplayName);
  if (checkpointFirst) return;
  throw new StillpointError(
    "ARGUMENT_INVALID",
    "first_display_name is the name of a checkpoint that is not asked for",
    {
      help: "Ask for it with checkpoint_first.",
    },
  );
}

/** Checks a request to delete a checkpoint, or it and all that stand on it, and accepts the job. */
export async function acceptDelete(
  deps: AcceptDeps,
  { name, requestId, subtree }: DeleteCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const kind = "checkpoint.delete";
  const named = asked(call, { target: workloadOf(name), requestId }, { kind, fingerprint: { name, subtree } });
  return acceptOrRepeat(deps, named, async () => {
    const found = await findCheckpoint(deps, name);
    const input: DeleteInput = { ...inputOf(found), subtree };
    const going = subtree ? subtreeOf(treeOf(found.tree), found.checkpoint.uid) : [found.checkpoint.body];
    return accept(deps, { ...named, input: { ...input } }, found.vm, (held) => {
      checkReady(held, found);
      const kept = going.find((checkpoint) => checkpoint.protected);
      if (kept !== undefined) throw isProtected(kept.name);
    });
  });
}
