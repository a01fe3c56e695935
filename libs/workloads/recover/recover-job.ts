import { HostState } from "#contracts/scheduler/v1/scheduler";
import { type Reason, StillpointError } from "#libs/errors";
import { recoveryName } from "#libs/names";
import type { Job, JobOutput, Outcome, Step } from "#libs/operations";
import { failedEvent, freeWorkload, heldWorkload } from "../held-workload.ts";
import { asOnHost } from "../host-job.ts";
import { type WorkloadBody, workloadEvent } from "../kind.ts";
import { forgetThere, startThere } from "../move/there.ts";
import { bringStep, failureIn, placeStep } from "./bring.ts";
import {
  type Point,
  pointOf,
  type RecoverContext,
  type RecoverDeps,
  type RecoverInput,
  targetOf,
} from "./recover-state.ts";

/**
 * Starts a workload of a host that is down on another one, from its last point in the registry, under the same uid.
 *
 * It may not run twice. Its own host has lost its lease before it is down, and has paused it; it goes on there only when
 * the host's owner says so, who reads the workload's record after he has written that the host is back. So the record is
 * held first and the host's read then: either the host is not down any more, and the recovery gives up, or the owner finds
 * the record held by it. From `switch` on the record names the other host, and there is no way back.
 */
export function recoverJob<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Job<RecoverInput> {
  const steps = [placeStep(deps, false), bringStep(deps, false), placeStep(deps, true), bringStep(deps, true)];
  return {
    kind: `${deps.kind.word}.recover`,
    steps: [
      checkStep(deps),
      ...steps.map((step) => unlessSwitched(deps, step)),
      switchStep(deps),
      { name: "go-on", run: (context) => goOn(deps, context) },
    ],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** Reads the host after the workload is held, and what there is to recover from. */
function checkStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Step<RecoverInput> {
  const { hosts, recoveryStates, clock } = deps;
  return {
    name: "check",
    async run(context) {
      const { target, input } = context;
      const { body } = await heldWorkload(deps, context);
      const state = (await hosts.get(input.from))?.body.state;
      if (state !== HostState.DOWN || body.host !== input.from) throw notDown(target, input.from);
      const recovery = (await recoveryStates.get(recoveryName(target)))?.body;
      const point = recovery?.workloadUid === input.uid ? recovery.point : undefined;
      if (point === undefined || point.reference === "") {
        throw new StillpointError("RECOVERY_POINT_MISSING", `${target} has no recovery point in the registry`);
      }
      const time = point.time ?? clock.now();
      const ageSeconds = Math.max(0, Math.round((clock.now().getTime() - time.getTime()) / 1_000));
      const { checkpoint, reference } = point;
      return { checkpoint, reference, time: time.toISOString(), ageSeconds } satisfies Point;
    },
  };
}

/** The host is back, or the workload is elsewhere. */
export const notDown = (workload: string, host: string): StillpointError =>
  new StillpointError("RECOVERY_NOT_NEEDED", `${workload} needs no recovery: ${host} is not down, or not its host`);

/** From here on it is there. */
function switchStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Step<RecoverInput> {
  return {
    name: "switch",
    async run(context) {
      const to = targetOf(context) ?? "";
      await deps.records.modify(context.target, ({ body, operation }) => {
        if (operation !== context.operationId || body.host === to) return undefined;
        const events = [workloadEvent(deps.kind, "moved", body, { from: context.input.from, to, why: "recovery" })];
        return { body: { ...body, host: to, updateTime: deps.clock.now() }, events };
      });
      return undefined;
    },
    /** There is no way back: what was cut off by a cancel is done all the same. */
    async undo(context) {
      if (await isSwitched(deps, context)) await goOn(deps, context);
    },
  };
}

/** Safe to repeat. What its own host has of it stays there, for people to look at. */
async function goOn<Body extends WorkloadBody>(deps: RecoverDeps<Body>, context: RecoverContext): Promise<JobOutput> {
  const to = targetOf(context) ?? "";
  const failure = await startThere(deps, context, to);
  const left = await forgetThere(deps, context, to);
  await deps.scheduler.release({ uid: context.input.uid, host: context.input.from });
  return { ...left, ...(failure === undefined ? {} : { failure }) };
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

async function isSwitched<Body extends WorkloadBody>(deps: RecoverDeps<Body>, context: RecoverContext) {
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
    await freeWorkload(records, context, async (body) => notRecovered(deps, body, context, outcome));
    return undefined;
  }
  const told = toldOf(context);
  await freeWorkload(records, context, async (body) => {
    const { body: seen, events } = await asOnHost(deps, body, context.outputs["go-on"]);
    return { body: seen, events: [...events, workloadEvent(kind, "recovered", body, told)] };
  });
  return { name: context.target, ...told };
}

/** How old the point was, and so what is lost. */
function toldOf(context: RecoverContext): JobOutput {
  const { checkpoint, reference, time, ageSeconds } = pointOf(context);
  const { failure } = context.outputs["go-on"] ?? {};
  const first = failureIn(context);
  return {
    ...{ from: context.input.from, to: targetOf(context), checkpoint, reference, pointTime: time, ageSeconds },
    lost: `what was written after ${time}, ${ageSeconds} s before the recovery began`,
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
  if (idle.has(reason)) return { body: { ...body, stateReason: "" }, events: [] };
  const { from } = context.input;
  const { body: seen, events } =
    body.host === from ? { body, events: [] } : await asOnHost(deps, body, context.outputs["go-on"]);
  const stateReason = `${from} is down, and it is not recovered: ${reason}: ${message}`;
  const failed = failedEvent(deps.kind, `${deps.kind.word}.recover`, body, outcome);
  const told = workloadEvent(deps.kind, "recovery_failed", body, { from, reason, message });
  return { body: { ...seen, stateReason }, events: [...events, failed, told] };
}
