import { Recovery } from "#contracts/vm/v1/vm";
import type { Outcome } from "#libs/operations";
import { askHost, failedEvent } from "../held-workload.ts";
import type { Folded, WorkloadBody } from "../kind.ts";
import { type MoveContext, type MoveDeps, placeOf } from "./move-state.ts";

type Failed = Extract<Outcome, { succeeded: false }>;

/**
 * How a move leaves a workload that fails: as its host says. Where that was before its record said that it is on the other
 * one, it is as before. After that the host that it came to may be gone: the one that it came from has it still, which
 * its record says, and keeps its place. It is off then, as far as anybody knows; but what is to be recovered is still
 * as one that runs, so that it is.
 */
export async function notMoved<Body extends WorkloadBody>(
  deps: MoveDeps<Body>,
  body: Body,
  context: MoveContext,
  outcome: Failed,
): Promise<Folded<Body>> {
  const { kind, agents } = deps;
  const events = [failedEvent(kind, `${kind.word}.move`, body, outcome)];
  const there = await askHost(agents, body);
  if (there !== undefined && there !== "unknown") {
    const folded = kind.fold(body, there);
    return { body: folded.body, events: [...folded.events, ...events] };
  }
  // Where it was pushed it was off, and is only started again by a host that answers.
  if (context.outputs.push === undefined) return { body, events };
  const { from, to } = placeOf(context);
  const state = body.spec?.recovery === Recovery.RESTART ? body.state : kind.states.stopped;
  const isThere = body.host === to;
  const stateReason = isThere
    ? `it was moved to ${to}, which does not answer; ${from} has it as it was then`
    : `it was stopped on ${from} to be moved, which does not answer; it is off there`;
  return { body: { ...body, state, stateReason }, events };
}
