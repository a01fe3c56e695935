import type { CheckpointOutcome } from "#contracts/host/v1/agent";
import { failpoint } from "#libs/failpoints";
import type { JobContext, Step } from "#libs/operations";
import type { Cause } from "../domain/policy.ts";
import { type CreateInput, createState, type Taken } from "../jobs/create-state.ts";
import { act, causeOf, causeOfFailure, excludedIds, productionStep, without } from "../jobs/take.ts";
import { isContainerName } from "../records/workload-record.ts";
import { membersOutput, settleTogether, undoMembers } from "./member-step.ts";
import { type GroupCreateInput, type GroupDeps, memberContexts } from "./members.ts";

type MemberContext = JobContext<CreateInput>;

/** Freezes or pauses every member that runs, takes the disks of all, thaws in reverse: all of them, or none. */
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

type Answers = Map<string, Answer>;

/** Nothing of a member whose turn did not come. */
async function freezeTogether(deps: GroupDeps, members: readonly MemberContext[], windowMs: number): Promise<Answers> {
  const answers: Answers = new Map();
  const failures: unknown[] = [];
  let begun: MemberContext[] = [];
  let commit = false;
  try {
    // What takes long is done before anybody stands still; of a VM there is nothing.
    begun = members.filter(({ target }) => isContainerName(target));
    const isReady = await prepareAll(deps, begun, answers);
    await failpoint("checkpoint.group-create.production.prepared");
    const isFrozen = isReady && (await holdAll(deps, members, { windowMs, answers, begun }));
    await failpoint("checkpoint.group-create.production.frozen");
    commit = isFrozen && (await takeAll(deps, members));
    await failpoint("checkpoint.group-create.production.taken");
  } catch (error) {
    failures.push(error);
  }
  failures.push(...(await thawAll(deps, begun, { commit, answers })));
  if (failures.length > 0) throw failures[0];
  return answers;
}

/** Copies what can be copied while all run; true when nobody refused. */
async function prepareAll(deps: GroupDeps, members: readonly MemberContext[], answers: Answers): Promise<boolean> {
  const asked = members.map(async (member) => {
    const value = { checkpointUid: member.input.checkpointUid, excludeDisks: excludedIds(member) };
    const answer = await act(deps, member, "prepare-held", { $case: "prepareHeld", value }).catch(causeOfFailure);
    if (!isReached(answer)) answers.set(member.target, answer);
  });
  const failed = (await Promise.allSettled(asked)).find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
  return answers.size === 0;
}

interface Holding {
  readonly windowMs: number;
  readonly answers: Answers;
  /** Gets every member that may stand still. */
  readonly begun: MemberContext[];
}

/** One after the other, until one refuses; true when all stand still. */
async function holdAll(deps: GroupDeps, members: readonly MemberContext[], { windowMs, answers, begun }: Holding) {
  for (const member of members) {
    // Last in the line, in the order in which they stand still.
    begun.splice(0, begun.length, ...begun.filter((it) => it !== member), member);
    const answer = await hold(deps, member, windowMs).catch(causeOfFailure);
    if (isReached(answer)) continue;
    answers.set(member.target, answer);
    return false;
  }
  return true;
}

interface Thawing {
  readonly commit: boolean;
  readonly answers: Answers;
}

/**
 * Whatever happened, in reverse: a workload that is not let go on here stands still until its agent's own window ends.
 * A container goes on at once but answers when its copy is safe on the disk, which nobody else waits for.
 */
async function thawAll(
  deps: GroupDeps,
  begun: readonly MemberContext[],
  { commit, answers }: Thawing,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  const thawing: Promise<void>[] = [];
  for (const member of begun.toReversed()) {
    const thawed = thaw(deps, member, commit)
      .catch(causeOfFailure)
      .then((answer) => void (answers.has(member.target) || answers.set(member.target, answer)))
      .catch((error: unknown) => void failures.push(error));
    thawing.push(thawed);
    if (!isContainerName(member.target)) await thawed;
  }
  await Promise.all(thawing);
  return failures;
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
