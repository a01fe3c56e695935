import { HostState } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, type Reason, StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { JobOutput, Step } from "#libs/operations";
import { ownWorkload } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { patiently } from "../move/patiently.ts";
import { applyThere, makeThere, receiveThere, unmakeThere } from "../move/there.ts";
import { pointOf, type RecoverContext, type RecoverDeps, type RecoverInput, type Try } from "./recover-state.ts";

/** Holds capacity on another host. `again`: on a third one, where the first could not take it. */
export function placeStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>, again: boolean): Step<RecoverInput> {
  const { scheduler, moving } = deps;
  const name = again ? "place-again" : "place";
  return {
    name,
    skip: (context) => isUnneeded(context, again),
    async run(context) {
      const { uid, body } = await ownWorkload(deps, context);
      const { from } = context.input;
      const first = again ? tryIn(context, "place") : undefined;
      const tried = first === undefined ? [] : [first.to];
      // Only once it is written down that it was given up there: until then another worker may still bring it there.
      for (const host of tried) await scheduler.release({ uid, host, epoch: context.epoch });
      const requirements = { ...moving.requirements(body), notHost: from, notHosts: tried };
      const { target: workload, operationId, epoch } = context;
      const operation = operationName(operationId);
      const { host } = await scheduler.place({ workload, uid, operation, epoch, requirements });
      return { to: host } satisfies Try;
    },
    async undo(context) {
      // Where it was cut off, nobody knows the host: the scheduler gives back what an operation has taken and not used.
      const placed = tryIn(context, name);
      if (placed !== undefined)
        await scheduler.release({ uid: context.input.uid, host: placed.to, epoch: context.epoch });
    },
  };
}

/**
 * Makes it there, off, as it was at its point. A host that cannot take it is given up, and the output says why: then one
 * other is tried.
 */
export function bringStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>, again: boolean): Step<RecoverInput> {
  const [name, placed] = again ? (["bring-again", "place-again"] as const) : (["bring", "place"] as const);
  return {
    name,
    skip: (context) => isUnneeded(context, again),
    async run(context) {
      const attempt = tryIn(context, placed);
      if (attempt === undefined) throw new StillpointError("INTERNAL", `step ${placed} has no output`);
      try {
        return await bringPatiently(deps, context, attempt.to);
      } catch (error) {
        if (!isOfHost(context, error)) throw error;
        return { failure: await giveUp(deps, context, attempt.to, error) };
      }
    },
    async undo(context) {
      const attempt = tryIn(context, placed);
      if (attempt === undefined || failureIn(context, name) !== undefined) return;
      try {
        await unmakeThere(deps, context, attempt.to);
      } catch (error) {
        // It was never started there, and nobody looks for it there: whatever comes to that host makes room for itself.
        if (!isOfHost(context, error) || !(await isDown(deps, attempt.to))) throw error;
      }
    },
  };
}

/** @throws StillpointError NO_HOST_FITS when neither of the hosts that were tried could take it */
export function refuseUnbrought(context: RecoverContext): void {
  const second = failureIn(context, "bring-again");
  if (second === undefined) return;
  const why = `${context.target} could not be brought to any host: ${failureIn(context)}; ${second}`;
  throw new StillpointError("NO_HOST_FITS", why);
}

async function bring<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  host: string,
): Promise<JobOutput | undefined> {
  const there = { host, reference: pointOf(context).reference };
  await makeThere(deps, context, there);
  if (there.reference === "") return undefined;
  await receiveThere(deps, context, there);
  return applyThere(deps, context, host);
}

/** Nothing that another host would do better. */
const everywhere: ReadonlySet<Reason> = new Set([
  ...(["REGISTRY_UNREACHABLE", "OUTCOME_UNKNOWN", "UNAVAILABLE", "EPOCH_STALE", "OPERATION_CANCELLED"] as const),
]);
const patienceMs = 30_000;

function isOfHost({ signal }: Pick<RecoverContext, "signal">, error: unknown): error is StillpointError {
  return !signal.aborted && isStillpointError(error) && !everywhere.has(error.reason);
}

/** What may pass is waited for, but not on a host that is down, as its record says. */
async function bringPatiently<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  host: string,
): Promise<JobOutput | undefined> {
  const { signal } = context;
  const told = ({ message }: StillpointError) =>
    context.progress({ message: `${host} does not take it yet: ${message}` });
  const patience = { clock: deps.clock, signal, forMs: patienceMs, isHopeless: () => isDown(deps, host), told };
  return await patiently(patience, () => bring(deps, context, host));
}

async function isDown<Body extends WorkloadBody>({ hosts }: RecoverDeps<Body>, host: string): Promise<boolean> {
  const state = (await hosts.get(host))?.body.state;
  return state === undefined || state === HostState.DOWN;
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

/** Why the first host was given up, or the second; undefined when it was not. */
export function failureIn(
  { outputs }: Pick<RecoverContext, "outputs">,
  step: "bring" | "bring-again" = "bring",
): string | undefined {
  return (outputs[step] as { readonly failure?: string } | undefined)?.failure;
}

/** Where it is still at home nothing is brought, and no second host is tried but after a first. */
const isUnneeded = (context: RecoverContext, again: boolean): boolean =>
  pointOf(context).home !== undefined || (again && failureIn(context) === undefined);

/** What a step that places it has found; undefined when it was cut off. */
const tryIn = ({ outputs }: Pick<RecoverContext, "outputs">, step: string): Try | undefined =>
  outputs[step] as unknown as Try | undefined;
