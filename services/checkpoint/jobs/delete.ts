import { CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import { type CheckpointStore, deletedEvent } from "../checkpoint-store.ts";
import { isProtected } from "../refusals.ts";
import { heldVm, releaseVm } from "./held-vm.ts";
import type { JobDeps } from "./job-deps.ts";

export interface DeleteInput {
  readonly workloadUid: string;
  /** Resource name. */
  readonly checkpoint: string;
  readonly checkpointUid: string;
}

type Context = JobContext<DeleteInput>;

/** Removes a checkpoint, in any position: the host forgets it and merges its layers later; the records follow at once. */
export function deleteJob(deps: JobDeps): Job<DeleteInput> {
  return {
    kind: "checkpoint.delete",
    steps: [markStep(deps), removeStep(deps), forgetStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** From here on it can no longer be applied. */
function markStep({ vms, store, clock }: JobDeps): Step<DeleteInput> {
  const mark = (context: Context, state: CheckpointState) =>
    store.records.modify(context.input.checkpoint, ({ name, body }) => {
      if (body.state === state) return undefined;
      const isGoing = state === CheckpointState.DELETING;
      if (isGoing && body.protected) throw isProtected(name);
      return { body: { ...body, state, updateTime: clock.now() }, operation: isGoing ? context.operationId : null };
    });
  return {
    name: "mark",
    async run(context) {
      const { host } = await heldVm(vms, context);
      await mark(context, CheckpointState.DELETING);
      return { host };
    },
    async undo(context) {
      await mark(context, CheckpointState.READY);
    },
  };
}

function removeStep({ store, agents }: JobDeps): Step<DeleteInput> {
  const at = ({ input, outputs }: Context) => ({ host: String(outputs.mark?.host), uid: input.workloadUid });
  return {
    name: "remove",
    async run(context) {
      const value = { checkpointUids: [context.input.checkpointUid] };
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

/** What stood on it stands on its parent; its own record goes last, so that a repetition still knows the parent. */
async function forget(store: CheckpointStore, context: Context): Promise<void> {
  const { checkpointUid } = context.input;
  const workload = workloadOf(context);
  const { checkpoints, head } = await store.tree(workload);
  const gone = checkpoints.find(({ uid }) => uid === checkpointUid);
  if (gone === undefined) return;
  const { parent } = gone.body;
  for (const child of checkpoints) {
    if (child.body.parent === checkpointUid) await store.records.update(child, { body: { ...child.body, parent } });
  }
  if (head?.body.parent === checkpointUid) await store.moveHead(workload, { parent });
  await store.records.remove(gone, [deletedEvent(gone, context.target, "it was asked for")]);
}

const workloadOf = ({ target, input }: Context) => ({ name: target, uid: input.workloadUid });

async function conclude({ vms }: JobDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  const { checkpoint } = context.input;
  if (outcome.succeeded) {
    await releaseVm(vms, context);
    return { checkpoint };
  }
  const { reason, message } = outcome.error;
  const data = { name: checkpoint, workload: context.target, error: reason, message };
  await releaseVm(vms, context, [{ aggregate: "checkpoint", happened: "delete_failed", data }]);
  return undefined;
}
