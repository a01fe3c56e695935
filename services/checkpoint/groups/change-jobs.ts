import type { Job, JobContext, Step } from "#libs/operations";
import { type ApplyInput, applyJob } from "../jobs/apply.ts";
import { type DeleteInput, deleteJob } from "../jobs/delete.ts";
import { heldVm } from "../jobs/held-vm.ts";
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

/**
 * Brings every member back, in the group's order, when the checkpoints of all can be applied. Applying cannot be taken
 * back: should it fail for one all the same, those before it stay brought back, and operation and event name them.
 */
export function groupApplyJob(deps: GroupDeps): Job<GroupChangeInput> {
  const steps = [checkStep(deps), ...applyJob(deps).steps].map((step) =>
    memberStep<GroupChangeInput, ApplyInput>(step, { ...each, ...(step.name === "apply" ? { stays: "applied" } : {}) }),
  );
  const isChanged = async ({ vm, workloadUid, generationId }: MemberCheckpoint) =>
    (await deps.store.tree({ name: vm, uid: workloadUid })).head?.body.generationId === generationId;
  return changeJob(deps, { kind: "checkpoint.group-apply", verb: "apply", happened: "applied", isChanged }, steps);
}

/** Before anything is changed, every host looks whether its member's checkpoint can be applied. */
function checkStep({ vms, agents }: GroupDeps): Step<ApplyInput> {
  return {
    name: "check",
    async run(context) {
      const { checkpointUid, workloadUid } = context.input;
      const { host } = await heldVm(vms, context);
      const action = { $case: "checkApply", value: { checkpointUid } } as const;
      await agents.runStep(context, { host, uid: workloadUid }, "check", action);
      return undefined;
    },
  };
}

/** Deletes the checkpoints of the members, then the group's. */
export function groupDeleteJob(deps: GroupDeps): Job<GroupChangeInput> {
  const ofMembers = deleteJob(deps).steps.map((step) =>
    memberStep<GroupChangeInput, DeleteInput>(step, {
      ...each,
      ...(step.name === "remove" ? { stays: "deleted" } : {}),
    }),
  );
  const forget: Step<GroupChangeInput> = {
    name: "forget-group",
    async run({ input }) {
      const stored = await deps.groupCheckpoints.get(input.groupCheckpoint);
      if (stored !== undefined) await deps.groupCheckpoints.remove(stored);
      return undefined;
    },
  };
  const isChanged = async ({ checkpoint }: MemberCheckpoint) =>
    (await deps.store.records.get(checkpoint)) === undefined;
  const change = { kind: "checkpoint.group-delete", verb: "delete", happened: "deleted", isChanged };
  return changeJob(deps, change, [...ofMembers, forget]);
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

interface GroupChange {
  readonly kind: string;
  /** As the event of a failure says it, and that of a success. */
  readonly verb: string;
  readonly happened: string;
  /** True when a member is as it should be in the end. */
  readonly isChanged: (member: MemberCheckpoint) => Promise<boolean>;
}

function changeJob(
  deps: GroupDeps,
  { kind, verb, happened, isChanged }: GroupChange,
  steps: readonly Step<GroupChangeInput>[],
): Job<GroupChangeInput> {
  return {
    kind,
    steps: [holdMembersStep(deps) as Step<GroupChangeInput>, ...steps],
    async conclude(context, outcome) {
      const { groupCheckpoint: name, members } = context.input;
      const data = { name, group: context.target };
      if (outcome.succeeded) {
        const event = { aggregate: "group", happened: `checkpoint_${happened}`, data };
        await releaseGroup(deps, context, { ofGroup: [event] });
        return { groupCheckpoint: name };
      }
      const { reason: error, message } = outcome.error;
      const changed: string[] = [];
      for (const member of members) if (await isChanged(member)) changed.push(member.vm);
      const unchanged = members.map(({ vm }) => vm).filter((vm) => !changed.includes(vm));
      const failure = { ...data, error, message, changed, unchanged };
      const event = { aggregate: "group", happened: `checkpoint_${verb}_failed`, data: failure };
      await releaseGroup(deps, context, { ofGroup: [event] });
      return undefined;
    },
  };
}
