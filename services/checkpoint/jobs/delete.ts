import { Checkpoint, CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import type { HoldTarget, Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import { subtreeOf, withoutNodes } from "../domain/tree.ts";
import { type CheckpointStore, deletedEvent, treeOf } from "../records/checkpoint-store.ts";
import { isProtected, noCheckpoint } from "../requests/refusals.ts";
import { heldVm, releaseVm } from "./held-vm.ts";
import type { JobDeps } from "./job-deps.ts";

export interface DeleteInput {
  readonly workloadUid: string;
  /** Resource name. */
  readonly checkpoint: string;
  readonly checkpointUid: string;
  /** With all that stand on it. */
  readonly subtree: boolean;
}

type Context = JobContext<DeleteInput>;

/** Output of step `mark`: what goes, as it is under the hold of this operation. */
interface Marked {
  readonly host: string;
  readonly uids: readonly string[];
}

/**
 * Removes checkpoints, in any position: the host forgets them at once and merges in the background what nobody needs
 * any more, and the records follow.
 */
export function deleteJob(deps: JobDeps): Job<DeleteInput> {
  return {
    kind: "checkpoint.delete",
    steps: [markStep(deps), removeStep(deps), forgetStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** From here on they can no longer be applied or protected. One that something else holds is busy. */
function markStep({ vms, store, operations, clock }: JobDeps): Step<DeleteInput> {
  const mark: HoldTarget<Checkpoint> = {
    codec: Checkpoint,
    missingReason: "CHECKPOINT_NOT_FOUND",
    expect({ name, body }) {
      if (body.protected) throw isProtected(name);
    },
    change: ({ body }) => ({ body: { ...body, state: CheckpointState.DELETING, updateTime: clock.now() } }),
  };
  return {
    name: "mark",
    async run(context) {
      const { host } = await heldVm(vms, context);
      const { checkpoint, checkpointUid, subtree } = context.input;
      const tree = treeOf(await store.tree(workloadOf(context)));
      const [first, ...above] = subtreeOf(tree, checkpointUid);
      if (first === undefined) throw noCheckpoint(checkpoint);
      const going = subtree ? [first, ...above] : [first];
      for (const { name } of going) await operations.holdAlso(context.operationId, name, mark);
      const marked: Marked = { host, uids: going.map(({ uid }) => uid) };
      return { ...marked };
    },
    async undo(context) {
      const { checkpoints } = await store.tree(workloadOf(context));
      for (const { name, operation } of checkpoints) {
        if (operation !== context.operationId) continue;
        await store.records.modify(name, ({ body }) => ({
          body: { ...body, state: CheckpointState.READY, updateTime: clock.now() },
          operation: null,
        }));
      }
    },
  };
}

function removeStep({ store, agents }: JobDeps): Step<DeleteInput> {
  const at = (context: Context) => ({ host: markedOf(context).host, uid: context.input.workloadUid });
  return {
    name: "remove",
    async run(context) {
      const value = { checkpointUids: [...markedOf(context).uids] };
      await agents.runStep(context, at(context), "remove", { $case: "removeCheckpoints", value });
      return undefined;
    },
    /** It cannot be taken back: when the host has done it already, the records follow all the same. */
    async undo(context) {
      const { stepsDone } = await agents.settle(context, at(context));
      if (stepsDone.includes("remove")) await forget(store, context);
    },
  };
}

function forgetStep({ store }: JobDeps): Step<DeleteInput> {
  return {
    name: "forget",
    async run(context) {
      await forget(store, context);
      return undefined;
    },
  };
}

/** What stood on them stands on what stays below; their own records go last, so that a repetition still knows that. */
async function forget(store: CheckpointStore, context: Context): Promise<void> {
  const going = new Set(markedOf(context).uids);
  const workload = workloadOf(context);
  const stored = await store.tree(workload);
  const after = withoutNodes(treeOf(stored), going);
  for (const { uid, parent } of after.nodes) {
    const record = stored.checkpoints.find((it) => it.uid === uid);
    if (record === undefined || record.body.parent === parent) continue;
    await store.records.update(record, { body: { ...record.body, parent } });
  }
  if (stored.head !== undefined) await store.moveHead(workload, { parent: after.head });
  for (const gone of stored.checkpoints.filter(({ uid }) => going.has(uid))) {
    const why = gone.uid === context.input.checkpointUid ? "it was asked for" : "what it stood on was deleted with it";
    await store.records.remove(gone, [deletedEvent(gone, context.target, why)]);
  }
}

const markedOf = ({ outputs }: Context): Marked => outputs.mark as unknown as Marked;

const workloadOf = ({ target, input }: Context) => ({ name: target, uid: input.workloadUid });

async function conclude({ vms }: JobDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  const { checkpoint } = context.input;
  if (outcome.succeeded) {
    await releaseVm(vms, context);
    return { checkpoint, deleted: markedOf(context).uids };
  }
  const { reason, message } = outcome.error;
  const data = { name: checkpoint, workload: context.target, error: reason, message };
  await releaseVm(vms, context, [{ aggregate: "checkpoint", happened: "delete_failed", data }]);
  return undefined;
}
