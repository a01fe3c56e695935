import type { Job, JobContext, Step } from "#libs/operations";
import { type ApplyInput, applyJob } from "../jobs/apply.ts";
import { type DeleteInput, deleteJob } from "../jobs/delete.ts";
import { memberStep } from "./member-step.ts";
import { type GroupDeps, type GroupInput, holdMembersStep, type Member, outputsOf, releaseGroup } from "./members.ts";

/** A member's checkpoint; what its own job is told. */
export interface MemberCheckpoint extends Member {
  /** Resource name. */
  readonly checkpoint: string;
  /** Of an apply: the VM's generation id afterwards. */
  readonly generationId: string;
}

export interface GroupChangeInput extends GroupInput {
  /** Resource name of the group's checkpoint. */
  readonly groupCheckpoint: string;
  readonly members: readonly MemberCheckpoint[];
}

type Context = JobContext<GroupChangeInput>;

/** Brings every member back, in the group's order. A member that has been brought back stays so when another fails. */
export function groupApplyJob(deps: GroupDeps): Job<GroupChangeInput> {
  const steps = applyJob(deps).steps.map((step) => memberStep<GroupChangeInput, ApplyInput>(step, each));
  return changeJob(deps, { kind: "checkpoint.group-apply", happened: "checkpoint_applied" }, steps);
}

/** Deletes the checkpoints of the members, then the group's. */
export function groupDeleteJob(deps: GroupDeps): Job<GroupChangeInput> {
  const ofMembers = deleteJob(deps).steps.map((step) => memberStep<GroupChangeInput, DeleteInput>(step, each));
  const forget: Step<GroupChangeInput> = {
    name: "forget-group",
    async run({ input }) {
      const stored = await deps.groupCheckpoints.get(input.groupCheckpoint);
      if (stored !== undefined) await deps.groupCheckpoints.remove(stored);
      return undefined;
    },
  };
  return changeJob(deps, { kind: "checkpoint.group-delete", happened: "checkpoint_deleted" }, [...ofMembers, forget]);
}

const each = {
  contexts: (context: Context): JobContext<ApplyInput & DeleteInput>[] =>
    context.input.members.map(({ vm, ...own }) => ({
      ...context,
      target: vm,
      input: { ...own, subtree: false },
      outputs: outputsOf(context, vm),
    })),
};

function changeJob(
  deps: GroupDeps,
  { kind, happened }: { readonly kind: string; readonly happened: string },
  steps: readonly Step<GroupChangeInput>[],
): Job<GroupChangeInput> {
  return {
    kind,
    steps: [holdMembersStep(deps) as Step<GroupChangeInput>, ...steps],
    async conclude(context, outcome) {
      const name = context.input.groupCheckpoint;
      const data = { name, group: context.target };
      const failure = outcome.succeeded ? {} : { error: outcome.error.reason, message: outcome.error.message };
      const event = { aggregate: "group", happened: outcome.succeeded ? happened : `${happened}_failed` };
      await releaseGroup(deps, context, { ofGroup: [{ ...event, data: { ...data, ...failure } }] });
      return outcome.succeeded ? { groupCheckpoint: name } : undefined;
    },
  };
}
