import { isStillpointError, type Reason, StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { JobOutput, Step } from "#libs/operations";
import { heldWorkload } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { applyThere, makeThere, receiveThere, unmakeThere } from "../move/there.ts";
import { pointOf, type RecoverContext, type RecoverDeps, type RecoverInput, type Try } from "./recover-state.ts";

/** Holds capacity on another host. `again`: on a third one, where the first could not take it. */
export function placeStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>, again: boolean): Step<RecoverInput> {
  const { scheduler, clock, moving } = deps;
  const name = again ? "place-again" : "place";
  return {
    name,
    skip: (context) => again && failureIn(context) === undefined,
    async run(context) {
      const { uid, body } = await heldWorkload(deps, context);
      const { from } = context.input;
      const first = again ? tryIn(context, "place") : undefined;
      const tried = first === undefined ? [] : [first.to];
      // Only once it is written down that it was given up there: until then another worker may still bring it there.
      for (const host of tried) await scheduler.release({ uid, host });
      const requirements = { ...moving.requirements(body), notHost: from, notHosts: tried };
      const operation = `${operationName(context.operationId)}`;
      const { host } = await scheduler.place({ workload: context.target, uid, operation, requirements });
      return { to: host, since: clock.now().toISOString() } satisfies Try;
    },
    async undo(context) {
      // Where it was cut off, nobody knows the host: the scheduler gives back what an operation has taken and not used.
      const placed = tryIn(context, name);
      if (placed !== undefined) await scheduler.release({ uid: context.input.uid, host: placed.to });
    },
  };
}

/**
 * Makes it there, off, as it was at its point. The first host that cannot take it is given up, and the output says why;
 * on the second one the recovery fails.
 */
export function bringStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>, again: boolean): Step<RecoverInput> {
  const placed = again ? "place-again" : "place";
  return {
    name: again ? "bring-again" : "bring",
    skip: (context) => again && failureIn(context) === undefined,
    async run(context) {
      const attempt = tryIn(context, placed);
      if (attempt === undefined) throw new StillpointError("INTERNAL", `step ${placed} has no output`);
      try {
        return await bring(deps, context, attempt.to);
      } catch (error) {
        if (again || !isOfHost(deps, context, error, attempt)) throw error;
        return { failure: await giveUp(deps, context, attempt.to, error) };
      }
    },
    async undo(context) {
      const attempt = tryIn(context, placed);
      if (attempt === undefined || (!again && failureIn(context) !== undefined)) return;
      await unmakeThere(deps, context, attempt.to);
    },
  };
}

async function bring<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  host: string,
): Promise<JobOutput | undefined> {
  const there = { host, reference: pointOf(context).reference };
  await makeThere(deps, context, there);
  await receiveThere(deps, context, there);
  return applyThere(deps, context, host);
}

/** Nothing that another host would do better. */
const everywhere: ReadonlySet<Reason> = new Set([
  ...(["REGISTRY_UNREACHABLE", "OUTCOME_UNKNOWN", "UNAVAILABLE", "EPOCH_STALE", "OPERATION_CANCELLED"] as const),
]);
/** These may pass, and are waited for. */
const passing: ReadonlySet<Reason> = new Set(["HOST_UNREACHABLE", "DEADLINE_EXCEEDED", "ENGINE_UNAVAILABLE"] as const);
const patienceMs = 30_000;

function isOfHost<Body extends WorkloadBody>(
  { clock }: RecoverDeps<Body>,
  { signal }: RecoverContext,
  error: unknown,
  { since }: Try,
): error is StillpointError {
  if (signal.aborted || !isStillpointError(error) || everywhere.has(error.reason)) return false;
  return !passing.has(error.reason) || clock.now().getTime() - Date.parse(since) > patienceMs;
}

/** Takes back what was made there; what a host does not answer to stays, and is told. */
async function giveUp<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  host: string,
  { reason, message }: StillpointError,
): Promise<string> {
  const why = `${host}: ${reason}: ${message}`;
  try {
    await unmakeThere(deps, context, host);
    return why;
  } catch (error) {
    if (context.signal.aborted || !isStillpointError(error) || error.reason === "EPOCH_STALE") throw error;
    return `${why} (its files stay there: ${error.message})`;
  }
}

/** Why the first host was given up; undefined when it was not. */
export function failureIn({ outputs }: Pick<RecoverContext, "outputs">): string | undefined {
  return (outputs.bring as { readonly failure?: string } | undefined)?.failure;
}

/** What a step that places it has found; undefined when it was cut off. */
const tryIn = ({ outputs }: Pick<RecoverContext, "outputs">, step: string): Try | undefined =>
  outputs[step] as unknown as Try | undefined;
