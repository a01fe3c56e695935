import type { CheckpointOutcome } from "#contracts/host/v1/agent";
import { isStillpointError, type Reason, StillpointError } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { JobContext, Step } from "#libs/operations";
import { judgeFreeze } from "../domain/evidence.ts";
import { type Cause, decideUncleanOffline, decideWithoutProduction, type TakenType } from "../domain/policy.ts";
import { productionNotReached } from "../requests/refusals.ts";
import { type CreateInput, createState, type Prepared, type Taken } from "./create-state.ts";
import type { JobDeps } from "./job-deps.ts";

type Context = JobContext<CreateInput>;

/** Freeze, snapshot, thaw; what is not proven counts as not reached. */
export function productionStep(deps: JobDeps): Step<CreateInput> {
  return {
    name: "production",
    skip: (context) => createState(context).decision.action !== "production",
    async run(context) {
      const { freezeWindowMs } = createState(context).prepared;
      const value = { ...layers(context), freezeWindowMs, excludeDisks: excludedIds(context) };
      const attempt = act(deps, context, "production", { $case: "takeProduction", value });
      const outcome = await attempt.catch(causeOfFailure);
      // What a failed attempt has left on the host is discarded before anything else is taken.
      if ("code" in outcome) return { ...without(context, outcome), ...nothing, taken: true };
      const cause = causeOf(outcome, createState(context).prepared.type);
      if (cause === undefined) return taken(outcome, { action: "production" });
      return { ...without(context, cause), ...facts(outcome), taken: outcome.refusedReason === "" };
    },
    undo: (context) => discard(deps, context, "undo-production"),
  };
}

/** The disks of a VM that is off. */
export function offlineStep(deps: JobDeps): Step<CreateInput> {
  return {
    name: "offline",
    skip: (context) => createState(context).decision.action !== "offline",
    async run(context) {
      const outcome = await act(deps, context, "offline", {
        $case: "takeOffline",
        value: { ...layers(context), excludeDisks: excludedIds(context) },
      });
      return taken(outcome, createState(context).decision);
    },
    undo: (context) => discard(deps, context, "undo-offline"),
  };
}

/** Looks for proof in what was taken. Nothing was taken yet when production was refused. */
export function verifyStep(deps: JobDeps): Step<CreateInput> {
  return {
    name: "verify",
    skip(context) {
      const { decision, offline } = createState(context);
      return decision.action !== "production" && offline === undefined;
    },
    async run(context) {
      const value = { checkpointUid: context.input.checkpointUid };
      const outcome = await act(deps, context, "verify", { $case: "verifyCheckpoint", value });
      const { decision, prepared, offline } = createState(context);
      if (outcome.refusedReason === "") return taken(outcome, decision);
      const cause = { code: outcome.refusedReason, detail: outcome.refusedDetail };
      if (offline === undefined) return { ...without(context, cause), ...facts(outcome), taken: true };
      return taken(outcome, decideUncleanOffline(prepared.type, cause));
    },
  };
}

/** Ends the job when the policy accepts nothing that can be had; what was seen until then is kept with the operation. */
export function refuseStep(): Step<CreateInput> {
  return {
    name: "refuse",
    skip: (context) => createState(context).decision.action !== "refuse",
    async run(context) {
      const { decision } = createState(context);
      if (decision.action === "refuse") throw productionNotReached(context.target, decision.cause);
      return undefined;
    },
  };
}

/** Removes a production attempt whose claim did not hold, before the standard one is taken under the same uid. */
export function discardUnproven(deps: JobDeps): Step<CreateInput> {
  return {
    name: "discard-unproven",
    skip(context) {
      const { decision, production } = createState(context);
      return decision.action === "production" || production?.taken !== true;
    },
    async run(context) {
      await discard(deps, context, "discard-unproven");
      return undefined;
    },
  };
}

/** Disks and RAM at one instant. */
export function standardStep(deps: JobDeps): Step<CreateInput> {
  return {
    name: "standard",
    skip: (context) => createState(context).decision.action !== "standard",
    async run(context) {
      const { decision } = createState(context);
      try {
        const outcome = await act(deps, context, "standard", { $case: "takeStandard", value: layers(context) });
        return taken(outcome, decision);
      } catch (error) {
        throw withFirstCause(error, decision.cause);
      }
    },
    undo: (context) => discard(deps, context, "undo-standard"),
  };
}

export async function act(
  deps: JobDeps,
  context: Context,
  step: string,
  action: AgentAction,
): Promise<CheckpointOutcome> {
  const { host } = createState(context).prepared;
  const { checkpoint } = await deps.agents.runStep(context, { host, uid: context.input.workloadUid }, step, action);
  if (checkpoint === undefined) {
    throw new StillpointError("INTERNAL", `the agent on ${host} gave no outcome for step ${step}`);
  }
  return checkpoint;
}

/** Safe when nothing was taken. Before `prepare` is done nothing can have been. */
async function discard(deps: JobDeps, context: Context, step: string): Promise<void> {
  const prepared = context.outputs.prepare as unknown as Prepared | undefined;
  if (prepared === undefined) return;
  const { checkpointUid, workloadUid } = context.input;
  const at = { host: prepared.host, uid: workloadUid };
  await deps.agents.runStep(context, at, step, { $case: "discardCheckpoint", value: { checkpointUid } });
}

const layers = (context: Context) => ({
  checkpointUid: context.input.checkpointUid,
  parentCheckpointUid: createState(context).prepared.parent,
});

export const excludedIds = (context: Context): string[] => createState(context).prepared.excluded.map(({ id }) => id);

const nothing = { evidence: {}, sizeBytes: 0 };

/** A failure of the attempt is a reason too why production was not reached, and the policy says what follows. */
const failedAs: Partial<Record<Reason, string>> = {
  GUEST_AGENT_ABSENT: "agent.absent",
  GUEST_AGENT_FAILED: "agent.unresponsive",
  CAPABILITY_MISSING: "host.unsupported",
  SPACE_INSUFFICIENT: "space.insufficient",
  QEMU_FAILED: "tx.failed",
  INTERNAL: "production.failed",
};

/** Throws what is no reason to take something else: a lost claim, a cancel, a host that does not answer. */
export function causeOfFailure(error: unknown): Cause {
  const code = isStillpointError(error) ? failedAs[error.reason] : undefined;
  if (code === undefined || !isStillpointError(error)) throw error;
  return { code, detail: error.message };
}

/** Why production was not reached; undefined when the evidence carries the claim. */
export function causeOf(
  { refusedReason, refusedDetail, evidence }: CheckpointOutcome,
  type: TakenType,
): Cause | undefined {
  if (refusedReason !== "") return { code: refusedReason, detail: refusedDetail };
  const judgement = judgeFreeze(evidence ?? {});
  return judgement.proven && type !== "production-only" ? undefined : judgement.cause;
}

/** What follows when production was not reached. */
export function without(context: Context, cause: Cause): Pick<Taken, "decision"> {
  const { type, noMemory } = createState(context).prepared;
  return { decision: decideWithoutProduction(type, cause, noMemory) };
}

const facts = ({ evidence = {}, sizeBytes }: CheckpointOutcome) => ({ evidence, sizeBytes });

const taken = (outcome: CheckpointOutcome, decision: Taken["decision"]) => ({
  ...facts(outcome),
  decision,
  taken: true,
});

/** A failure of the fallback says why there was one. */
function withFirstCause(error: unknown, cause: Cause | undefined): unknown {
  if (cause === undefined || !isStillpointError(error)) return error;
  const { reason, message, help, metadata } = error;
  const because = `${message} (standard was tried because production was not reached: ${cause.code})`;
  return new StillpointError(reason, because, {
    cause: error,
    help,
    metadata: { ...metadata, productionReason: cause.code },
  });
}
