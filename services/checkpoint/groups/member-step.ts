import type { JobContext, JobOutput, Step } from "#libs/operations";
import { decideTogether } from "../domain/group-policy.ts";
import { createState, type Prepared } from "../jobs/create-state.ts";
import { type GroupCreateInput, type GroupInput, memberContext } from "./members.ts";

interface MemberSteps<Input extends GroupInput, Own> {
  /** The group's job as its members' parts of it, in the group's order. */
  readonly contexts: (context: JobContext<Input>) => readonly JobContext<Own>[];
  /** At once instead of one after the other. */
  readonly together?: boolean;
  /** What is kept of what the members gave, by VM. */
  readonly settle?: (context: JobContext<Input>, results: Results) => Results;
}

/** By VM. */
type Results = ReadonlyMap<string, object>;

/** A step of one VM's job, done for every member that has something to do in it. */
export function memberStep<Input extends GroupInput, Own>(
  step: Step<Own>,
  { contexts, together = false, settle = (_context, results) => results }: MemberSteps<Input, Own>,
): Step<Input> {
  const isIdle = async (context: JobContext<Own>) => (await step.skip?.(context)) === true;
  return {
    name: step.name,
    async skip(context) {
      const idle = await Promise.all(contexts(context).map(isIdle));
      return idle.every(Boolean);
    },
    async run(context) {
      const results = new Map<string, JobOutput>();
      const runOne = async (own: JobContext<Own>) => {
        if (!(await isIdle(own))) results.set(own.target, (await step.run(own)) ?? {});
      };
      if (together) await Promise.all(contexts(context).map(runOne));
      else for (const own of contexts(context)) await runOne(own);
      return membersOutput(settle(context, results));
    },
    async undo(context) {
      for (const own of contexts(context).toReversed()) await step.undo?.(own);
    },
  };
}

/** What a step gave for each member, as the group's step stores it. */
export const membersOutput = (results: Results): JobOutput => ({ members: Object.fromEntries(results) });

/** Replaces what each member would do next by what all do. */
export function settleTogether(context: JobContext<GroupCreateInput>, results: Results): Results {
  const members = context.input.members.map((member) => {
    const own = memberContext(context, member);
    const result = results.get(member.vm) as Partial<Prepared> | undefined;
    const excluded = result?.excluded ?? createState(own).prepared.excluded;
    return { vm: member.vm, decision: result?.decision ?? createState(own).decision, excluded };
  });
  const leavingOut = members.filter(({ excluded }) => excluded.length > 0).map(({ vm }) => vm);
  const decisions = new Map(members.map(({ vm, decision }) => [vm, decision]));
  const settled = decideTogether(decisions, new Set(leavingOut));
  return new Map([...results].map(([vm, result]) => [vm, { ...result, decision: settled.get(vm) }]));
}
