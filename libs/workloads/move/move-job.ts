import { StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { Job, JobOutput, Outcome, Step } from "#libs/operations";
import { freeWorkload, heldWorkload, ownWorkload, requireHeld } from "../held-workload.ts";
import { asOnHost } from "../host-job.ts";
import { type WorkloadBody, workloadEvent } from "../kind.ts";
import { applyStep, goOn, makeStep, receiveStep } from "./move-in.ts";
import { pushStep, stopStep, takeStep } from "./move-out.ts";
import { type MoveContext, type MoveDeps, type MoveInput, placeOf } from "./move-state.ts";
import { notMoved } from "./not-moved.ts";
import { patiently } from "./patiently.ts";

/**
 * Brings a workload to another host: stopped, taken, pushed, and made there of what was pushed. Until that is whole a
 * failure takes everything back; from `commit` on there is no way back, as a worker that stood still in `switch` may write
 * the other host into the record at any time, and what is left of it on the old host goes. At no time may it run on both:
 * it is stopped until its record has changed.
 */
export function moveJob<Body extends WorkloadBody>(deps: MoveDeps<Body>): Job<MoveInput> {
  return {
    kind: `${deps.kind.word}.move`,
    steps: [
      placeStep(deps),
      ...[stopStep(deps), takeStep(deps), pushStep(deps)].map((step) => unlessMoved(deps, step)),
      ...[makeStep(deps), receiveStep(deps), applyStep(deps)].map((step) => unlessMoved(deps, step)),
      // Its output decides: whoever takes the operation over finds it, and goes on.
      { name: "commit", run: async (context) => ({ to: placeOf(context).to }) },
      switchStep(deps),
      { name: "go-on", run: (context) => goOn(deps, context) },
    ],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** Holds capacity on another host, before the workload is touched. */
function placeStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  const { scheduler, countCheckpoints, moving } = deps;
  const step: Step<MoveInput> = {
    name: "place",
    async run(context) {
      const { uid, body } = await ownWorkload(deps, context);
      const { all, points } = await countCheckpoints(context.target);
      const why = moving.whyBound(body, all - points);
      if (why !== undefined) throw new StillpointError(moving.boundReason, `${context.target} stays: ${why}`);
      const requirements = { ...moving.requirements(body), notHost: body.host };
      const { target: workload, operationId, epoch } = context;
      const operation = operationName(operationId);
      const { host } = await scheduler.place({ workload, uid, operation, epoch, requirements });
      return { from: body.host, to: host, isLive: moving.isLive(body.state) };
    },
    async undo(context) {
      // Where it was cut off, nobody knows the host: the scheduler gives back what an operation has taken and not used.
      if (context.outputs.place === undefined) return;
      await scheduler.release({ uid: context.input.uid, host: placeOf(context).to, epoch: context.epoch });
    },
  };
  return unlessMoved(deps, step);
}

/** Longer than a host takes that was not heard of, and is back or down. */
const patienceMs = 60_000;

/** From here on it is there. */
function switchStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  const run = async (context: MoveContext) => {
    const { from, to } = placeOf(context);
    await deps.records.modify(context.target, ({ body, operation }) => {
      requireHeld({ operation }, context);
      if (body.host === to) return undefined;
      const events = [workloadEvent(deps.kind, "moved", body, { from, to })];
      const time = deps.clock.now();
      return { body: { ...body, host: to, movedFrom: { host: from, time }, updateTime: time }, events };
    });
    return undefined;
  };
  return {
    name: "switch",
    run,
    /** There is no way back: what was cut off by a cancel is done all the same. */
    async undo(context) {
      if (!(await isMoved(deps, context))) return;
      await run(context);
      await patiently({ ...deps, signal: context.signal, forMs: patienceMs }, () => goOn(deps, context));
    },
  };
}

function unlessMoved<Body extends WorkloadBody>(deps: MoveDeps<Body>, step: Step<MoveInput>): Step<MoveInput> {
  if (step.undo === undefined) return step;
  return {
    ...step,
    async undo(context) {
      if (!(await isMoved(deps, context))) await step.undo?.(context);
    },
  };
}

/** Or it is about to be. */
async function isMoved<Body extends WorkloadBody>(deps: MoveDeps<Body>, context: MoveContext): Promise<boolean> {
  if (context.outputs.commit !== undefined) return true;
  if (context.outputs.place === undefined) return false;
  return (await heldWorkload(deps, context)).body.host === placeOf(context).to;
}

async function conclude<Body extends WorkloadBody>(
  deps: MoveDeps<Body>,
  context: MoveContext,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  if (!outcome.succeeded) {
    await freeWorkload({ records: deps.records }, context, (body) => notMoved(deps, body, context, outcome));
    return undefined;
  }
  await freeWorkload({ records: deps.records }, context, async (body) => {
    return await asOnHost(deps, { ...body, movedFrom: undefined }, context.outputs["go-on"]);
  });
  const { from, to } = placeOf(context);
  const { failure } = context.outputs["go-on"] ?? {};
  return { name: context.target, from, to, ...(failure === undefined ? {} : { notStarted: failure }) };
}
