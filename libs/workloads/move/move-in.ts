import type { JobOutput, Step } from "#libs/operations";
import type { WorkloadBody } from "../kind.ts";
import { withdraw } from "./move-out.ts";
import { atSource, type MoveContext, type MoveDeps, type MoveInput, placeOf } from "./move-state.ts";
import { mayPass, patiently } from "./patiently.ts";
import { applyThere, forgetThere, makeThere, receiveThere, startThere, type There, unmakeThere } from "./there.ts";

export function makeStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "make",
    async run(context) {
      await makeThere(deps, context, there(context));
      return undefined;
    },
    /** It was never started there: what a host that does not answer keeps of it, nobody looks for, and it is not waited for. */
    async undo(context) {
      const patience = { clock: deps.clock, signal: context.signal, forMs: patienceMs };
      await patiently(patience, () => unmakeThere(deps, context, placeOf(context).to)).catch(unlessAway);
    },
  };
}

const patienceMs = 10_000;

function unlessAway(error: unknown): void {
  if (!mayPass(error)) throw error;
}

/** Taken back by the undo of `make`. */
export function receiveStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "receive",
    async run(context) {
      await receiveThere(deps, context, there(context));
      return undefined;
    },
  };
}

/** Taken back by the undo of `make`. */
export function applyStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return { name: "apply", run: (context) => applyThere(deps, context, placeOf(context).to) };
}

/** It is there: starts it if it ran, and removes what it had where it was and on its way. Safe to repeat. */
export async function goOn<Body extends WorkloadBody>(deps: MoveDeps<Body>, context: MoveContext): Promise<JobOutput> {
  const { agents, scheduler, moving } = deps;
  const { from, to, isLive } = placeOf(context);
  const { failure } = isLive ? await startThere(deps, context, to) : {};
  const left = await forgetThere(deps, context, to);
  await agents.runStep(context, atSource(context), "destroy", moving.destroy);
  await scheduler.release({ uid: context.input.uid, host: from, epoch: context.epoch });
  await withdraw(deps, context);
  return { ...left, ...(failure === undefined ? {} : { failure }) };
}

function there(context: MoveContext): There {
  return { host: placeOf(context).to, reference: String(context.outputs.push?.reference) };
}
