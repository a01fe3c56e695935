import type { CheckpointOutcome } from "#contracts/host/v1/agent";
import { failpoint } from "#libs/failpoints";
import type { JobContext, Step } from "#libs/operations";
import type { Cause } from "../domain/policy.ts";
import { type CreateInput, createState, type Taken } from "../jobs/create-state.ts";
import { act, causeOf, causeOfFailure, excludedIds, productionStep, without } from "../jobs/take.ts";
import { membersOutput, settleTogether, undoMembers } from "./member-step.ts";
import { type GroupCreateInput, type GroupDeps, memberContexts } from "./members.ts";

type MemberContext = JobContext<CreateInput>;

/** Freezes every member that runs, takes the disks of all, thaws in reverse: all of them, or none. */
export function freezeTogetherStep(deps: GroupDeps): Step<GroupCreateInput> {
  const own = productionStep(deps);
  const taking = (context: JobContext<GroupCreateInput>) =>
    memberContexts(context).filter((it) => createState(it).decision.action === "production");
  return {
    name: "production",
    skip: (context) => taking(context).length === 0,
    async run(context) {
      const members = taking(context);
      const answers = await freezeTogether(deps, members, context.input.freezeWindowMs);
      const results = members.map((it) => [it.target, takenOf(it, answers.get(it.target))] as const);
      return membersOutput(settleTogether(context, new Map(results)));
    },
    undo: (context) => undoMembers(own, memberContexts(context)),
  };
}

/** What a member answered last, or why it failed. */
type Answer = CheckpointOutcome | Cause;

/** Nothing of a member whose turn did not come. */
async function freezeTogether(deps: GroupDeps, members: readonly MemberContext[], windowMs: number) {
  const answers = new Map<string, Answer>();
  const held: MemberContext[] = [];
  const failures: unknown[] = [];
  let commit = false;
  try {
    for (const member of members) {
      held.push(member);
      const answer = await hold(deps, member, windowMs).catch(causeOfFailure);
      if (isReached(answer)) continue;
      held.pop();
      answers.set(member.target, answer);
      break;
    }
    await failpoint("checkpoint.group-create.production.frozen");
    commit = held.length === members.length && (await takeAll(deps, held));
    await failpoint("checkpoint.group-create.production.taken");
  } catch (error) {
    failures.push(error);
  }
  // Whatever happened: a guest that is not thawed here stands still until its agent's own window ends.
  for (const member of held.toReversed()) {
    const thawed = thaw(deps, member, commit).catch(causeOfFailure);
    await thawed.then((answer) => answers.set(member.target, answer)).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
  return answers;
}

const isReached = (answer: Answer) => !("code" in answer) && answer.refusedReason === "";

async function hold(deps: GroupDeps, member: MemberContext, windowMs: number): Promise<CheckpointOutcome> {
  const { parent, freezeWindowMs } = createState(member).prepared;
  const value = {
    checkpointUid: member.input.checkpointUid,
    parentCheckpointUid: parent,
    freezeWindowMs: windowMs || freezeWindowMs,
    excludeDisks: excludedIds(member),
  };
  return await act(deps, member, "hold-frozen", { $case: "holdFrozen", value });
}

/** True when the disks of every member are taken. */
async function takeAll(deps: GroupDeps, members: readonly MemberContext[]): Promise<boolean> {
  const answers = await Promise.all(
    members.map((member) => {
      const value = { checkpointUid: member.input.checkpointUid };
      return act(deps, member, "take-held", { $case: "takeHeld", value }).catch(causeOfFailure);
    }),
  );
  return answers.every(isReached);
}

async function thaw(deps: GroupDeps, member: MemberContext, commit: boolean): Promise<CheckpointOutcome> {
  const value = { checkpointUid: member.input.checkpointUid, commit };
  return await act(deps, member, "thaw-held", { $case: "thawHeld", value });
}

/** One whose turn did not come could have been taken: what follows for it is decided by the others. */
function takenOf(member: MemberContext, answer: Answer | undefined): Taken {
  const nothing = { evidence: {}, sizeBytes: 0 };
  if (answer === undefined) return { ...nothing, taken: false, decision: { action: "production" } };
  // What a failed attempt has left on the host is discarded before anything else is taken.
  if ("code" in answer) return { ...nothing, taken: true, ...without(member, answer) };
  const cause = causeOf(answer, createState(member).prepared.type);
  const { evidence = {}, sizeBytes, refusedReason } = answer;
  const next = cause === undefined ? { decision: { action: "production" } as const } : without(member, cause);
  return { evidence, sizeBytes, taken: refusedReason === "", ...next };
}
