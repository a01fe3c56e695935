import type { Vm as VmBody } from "#contracts/vm/v1/vm";
import { groupCheckpointName } from "#libs/names";
import type { JobContext, JobOutput, Step } from "#libs/operations";
import type { RecordEvent } from "#libs/records";
import type { TakenType } from "../domain/policy.ts";
import type { CreateInput } from "../jobs/create-state.ts";
import { releaseVm } from "../jobs/held-vm.ts";
import type { JobDeps } from "../jobs/job-deps.ts";
import { workloadCodec } from "../records/workload-record.ts";
import { checkSettled } from "../requests/find-checkpoint.ts";
import type { GroupStore } from "./group-store.ts";

/** What the jobs of groups work with. */
export interface GroupDeps extends JobDeps, GroupStore {}

/** A VM of the group, as it was when the request was accepted. */
export interface Member {
  /** Resource name. */
  readonly vm: string;
  readonly workloadUid: string;
  readonly checkpointUid: string;
}

export interface GroupInput {
  readonly groupUid: string;
  /** In the group's order. */
  readonly members: readonly Member[];
}

/** Decided when the request was accepted; the same however often the job begins again. */
export interface GroupCreateInput extends GroupInput {
  /** Also the last part of the group checkpoint's name. */
  readonly groupCheckpointUid: string;
  readonly displayName: string;
  readonly asked: TakenType;
  /** 0: each member's own. */
  readonly freezeWindowMs: number;
}

/** Takes hold of all members, in the order of their names: so two groups that share some cannot wait for each other. */
export function holdMembersStep({ operations }: GroupDeps): Step<GroupInput> {
  return {
    name: "hold",
    async run({ operationId, input }) {
      for (const { vm, workloadUid } of input.members.toSorted((a, b) => (a.vm < b.vm ? -1 : 1))) {
        const hold = {
          codec: workloadCodec,
          uid: workloadUid,
          expect: checkSettled,
          missingReason: "VM_NOT_FOUND",
        } as const;
        await operations.holdAlso<VmBody>(operationId, vm, hold);
      }
      return undefined;
    },
  };
}

/** Frees the members, then the group, and tells what happened. */
export async function releaseGroup(
  { vms, groups }: GroupDeps,
  context: JobContext<GroupInput>,
  events: { readonly ofGroup: readonly RecordEvent[]; readonly ofVm?: (member: Member) => readonly RecordEvent[] },
): Promise<void> {
  for (const member of context.input.members) {
    await releaseVm(vms, { ...context, target: member.vm }, events.ofVm?.(member));
  }
  await groups.modify(context.target, ({ operation }) =>
    operation === context.operationId ? { operation: null, events: events.ofGroup } : undefined,
  );
}

/** The job of a group's checkpoint as one member's part of it: its VM, and what the steps gave for it. */
export function memberContext(context: JobContext<GroupCreateInput>, member: Member): JobContext<CreateInput> {
  const { displayName, asked, groupCheckpointUid } = context.input;
  const { vm, workloadUid, checkpointUid } = member;
  const groupCheckpoint = groupCheckpointName(context.target, groupCheckpointUid);
  const input = { workloadUid, checkpointUid, displayName, asked, groupCheckpoint };
  return { ...context, target: vm, input, outputs: outputsOf(context, vm) };
}

export const memberContexts = (context: JobContext<GroupCreateInput>): JobContext<CreateInput>[] =>
  context.input.members.map((member) => memberContext(context, member));

/** What the steps that are done gave for one member. */
export function outputsOf({ outputs }: JobContext<GroupInput>, vm: string): Record<string, JobOutput> {
  const own = Object.entries(outputs).flatMap(([step, output]) => {
    const ofMember = (output.members as Record<string, JobOutput> | undefined)?.[vm];
    return ofMember === undefined ? [] : [[step, ofMember] as const];
  });
  return Object.fromEntries(own);
}
