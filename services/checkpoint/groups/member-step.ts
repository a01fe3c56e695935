import { isStillpointError, StillpointError } from "#libs/errors";
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
  /** What has become of a member for which it was done, where that is not taken back when it fails for another. */
  readonly stays?: string;
}

/** By VM. */
type Results = ReadonlyMap<string, object>;

/** A step of one VM's job, done for every member that has something to do in it. */
export function memberStep<Input extends GroupInput, Own>(
  step: Step<Own>,
  { contexts, together = false, settle = (_context, results) => results, stays }: MemberSteps<Input, Own>,
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
      try {
        if (together) await allEnded(contexts(context).map(runOne));
        else for (const own of contexts(context)) await runOne(own);
      } catch (error) {
        throw stays === undefined ? error : withDone(error, [...results.keys()], stays);
      }
      return membersOutput(settle(context, results));
    },
    undo: (context) => undoMembers(step, contexts(context)),
  };
}

/** Undoes a step of every member, the last first, also when it fails for some; then fails as the first of those. */
export async function undoMembers<Own>(step: Step<Own>, contexts: readonly JobContext<Own>[]): Promise<void> {
  const failures: unknown[] = [];
  for (const own of contexts.toReversed()) {
    try {
      await step.undo?.(own);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Fails as the first that failed, when all have ended: what went on by itself would meet the undo of the step. */
async function allEnded(works: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find((each) => each.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** The failure with the members that are changed all the same. */
function withDone(error: unknown, done: readonly string[], stays: string): unknown {
  if (!isStillpointError(error) || done.length === 0) return error;
  const { reason, message, help, metadata } = error;
  return new StillpointError(reason, `${message} (${done.join(", ")}: ${stays} already, and left so)`, {
    cause: error,
    help,
    metadata,
  });
}

/** What a step gave for each member, as the group's step stores it. */
export const membersOutput = (results: Results): JobOutput => ({ members: Object.fromEntries(results) });

/** Replaces what each member would do next by what all do. */
export function settleTogether(context: JobContext<GroupCreateInput>, results: Results): Results {
  const members = context.input.members.map((member) => {
    const own = memberContext(context, member);
    const result = results.get(member.vm) as Partial<Prepared> | undefined;
    const { noMemory } = result?.type === undefined ? createState(own).prepared : result;
    return { vm: member.vm, decision: result?.decision ?? createState(own).decision, noMemory };
  });
  const withoutMemory = members.flatMap(({ vm, noMemory }) => (noMemory ? [[vm, noMemory] as const] : []));
  const decisions = new Map(members.map(({ vm, decision }) => [vm, decision]));
  const settled = decideTogether(decisions, new Map(withoutMemory));
  return new Map([...results].map(([vm, result]) => [vm, { ...result, decision: settled.get(vm) }]));
}
