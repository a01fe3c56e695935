import { ContainerState } from "#contracts/container/v1/container";
import type { Reason } from "#libs/errors";
import type { Job, JobOutput, Outcome, Step } from "#libs/operations";
import { askHost, failedEvent, freeWorkload, heldWorkload, requireHeld } from "../held-workload.ts";
import { asOnHost } from "../host-job.ts";
import { type WorkloadBody, workloadEvent } from "../kind.ts";
import { leasePaused } from "../lease-reason.ts";
import { patiently } from "../move/patiently.ts";
import { forgetThere, startThere } from "../move/there.ts";
import { bringStep, failureIn, placeStep, refuseUnbrought } from "./bring.ts";
import { pointFor } from "./point-for.ts";
import { pointOf, type RecoverContext, type RecoverDeps, type RecoverInput, targetOf } from "./recover-state.ts";
import { isAway, notDown, startWhereItStays, stayStep } from "./stay.ts";
import { whyUnrecovered } from "./unrecovered.ts";

/**
 * Starts a workload of a host that is down on another one, from its last point in the registry, under the same uid.
 *
 * It may not run twice. Its own host has lost its lease before it is down, and has paused it; it goes on there only when
 * the host's owner says so, who reads the workload's record after he has written that the host is back. So the record is
 * held first and the host's read then: either the host is not down any more, and the recovery gives up, or the owner finds
 * the record held by it. From `commit` on there is no way back: a worker that stood still in `switch` may write the other
 * host into the record at any time.
 */
export function recoverJob<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Job<RecoverInput> {
  const steps = [placeStep(deps, false), bringStep(deps, false), placeStep(deps, true), bringStep(deps, true)];
  return {
    kind: `${deps.kind.word}.recover`,
    steps: [
      checkStep(deps),
      stayStep(deps),
      ...steps.map((step) => unlessSwitched(deps, step)),
      { name: "commit", run: commit },
      switchStep(deps),
      { name: "go-on", run: (context) => goOn(deps, context) },
    ],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** Reads the host after the workload is held, and what there is to recover from; or finds that it stays where it is. */
function checkStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Step<RecoverInput> {
  return {
    name: "check",
    async run(context) {
      const { target, input } = context;
      const { body } = await heldWorkload(deps, context);
      if (body.host !== input.from) throw notDown(target, input.from);
      if (!(await isAway(deps, input.from))) return { stays: true };
      return { ...(await pointFor(deps, target, body)) };
    },
    undo: (context) => startWhereItStays(deps, context),
  };
}

/** Longer than a host takes that was not heard of, and is back or down. */
const patienceMs = 60_000;

/** Its output decides: whoever takes the operation over finds it, and goes on. */
async function commit(context: RecoverContext): Promise<JobOutput> {
  refuseUnbrought(context);
  return { to: targetOf(context) };
}

/** From here on it is there. */
function switchStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Step<RecoverInput> {
  const run = async (context: RecoverContext) => {
    const to = targetOf(context) ?? "";
    await deps.records.modify(context.target, ({ body, operation }) => {
      requireHeld({ operation }, context);
      if (body.host === to) return undefined;
      const events = [workloadEvent(deps.kind, "moved", body, { from: context.input.from, to, why: "recovery" })];
      return { body: { ...body, host: to, movedFrom: undefined, updateTime: deps.clock.now() }, events };
    });
    return undefined;
  };
  return {
    name: "switch",
    run,
    /** There is no way back: what was cut off by a cancel is done all the same. */
    async undo(context) {
      if (!(await isSwitched(deps, context))) return;
      await run(context);
      await patiently({ ...deps, signal: context.signal, forMs: patienceMs }, () => goOn(deps, context));
    },
  };
}

/**
 * Safe to repeat. What its own host has of it stays there, for people to look at. Once it runs nothing more is asked of
 * where it runs: when that host loses its lease, what it holds goes on only when this operation is over.
 */
async function goOn<Body extends WorkloadBody>(deps: RecoverDeps<Body>, context: RecoverContext): Promise<JobOutput> {
  const to = targetOf(context) ?? "";
  await forgetThere(deps, context, to);
  const started = await startThere(deps, context, to);
  await deps.scheduler.release({ uid: context.input.uid, host: context.input.from, epoch: context.epoch });
  return started;
}

function unlessSwitched<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  step: Step<RecoverInput>,
): Step<RecoverInput> {
  return {
    ...step,
    async undo(context) {
      if (!(await isSwitched(deps, context))) await step.undo?.(context);
    },
  };
}

/** Or it is about to be. */
async function isSwitched<Body extends WorkloadBody>(deps: RecoverDeps<Body>, context: RecoverContext) {
  if (context.outputs.commit !== undefined) return true;
  const to = targetOf(context);
  return to !== undefined && (await heldWorkload(deps, context)).body.host === to;
}

async function conclude<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  const { kind, records } = deps;
  if (!outcome.succeeded) {
    await freeWorkload({ records }, context, async (body) => notRecovered(deps, body, context, outcome));
    return undefined;
  }
  const told = toldOf(context);
  await freeWorkload({ records }, context, async (body) => {
    const { body: seen, events } = await asOnHost(deps, body, context.outputs["go-on"]);
    return { body: seen, events: [...events, workloadEvent(kind, "recovered", body, told)] };
  });
  return { name: context.target, ...told };
}

const nothingInVolumes = "nothing in volumes, as it has none: it began anew from its image, without a recovery point";

/** How old the point was, and so what is lost. */
function toldOf(context: RecoverContext): JobOutput {
  const { checkpoint, reference, time, ageSeconds, isAnew = false } = pointOf(context);
  const { failure } = context.outputs["go-on"] ?? {};
  const first = failureIn(context);
  const point = { checkpoint, reference, pointTime: time, ageSeconds };
  return {
    ...{ from: context.input.from, to: targetOf(context) },
    ...(isAnew ? {} : point),
    lost: isAnew ? nothingInVolumes : `what was written after ${time}, ${ageSeconds} s before the recovery began`,
    ...(first === undefined ? {} : { triedFirst: first }),
    ...(failure === undefined ? {} : { notStarted: failure }),
  };
}

/** Nobody is to be told that it is not recovered of one that need not be. */
const idle: ReadonlySet<Reason> = new Set(["RECOVERY_NOT_NEEDED"] as const);

async function notRecovered<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  body: Body,
  context: RecoverContext,
  outcome: Extract<Outcome, { succeeded: false }>,
) {
  const { reason, message } = outcome.error;
  const { from } = context.input;
  if (idle.has(reason)) return await stayed(deps, body, message);
  const { body: seen, events } =
    body.host === from ? { body, events: [] } : await asOnHost(deps, body, context.outputs["go-on"]);
  const stateReason = whyUnrecovered(from, `${reason}: ${message}`);
  const failed = failedEvent(deps.kind, `${deps.kind.word}.recover`, body, outcome);
  const told = workloadEvent(deps.kind, "recovery_failed", body, { from, reason, message });
  return { body: { ...seen, stateReason }, events: [...events, failed, told] };
}

/** As its host says: it goes on there, or why it does not. On a host that is down again it waits for another recovery. */
async function stayed<Body extends WorkloadBody>(deps: RecoverDeps<Body>, body: Body, message: string) {
  const { kind, agents } = deps;
  const there = await askHost(agents, body);
  if (there === undefined || there === "unknown") {
    const stateReason = (await isAway(deps, body.host)) ? whyUnrecovered(body.host, message) : "";
    return { body: { ...body, stateReason }, events: [] };
  }
  const why = there.container?.state === ContainerState.RUNNING ? "" : message;
  return kind.fold(body, there, there.leaseHoldTime === undefined ? why : leasePaused);
}
