import { isStillpointError, type Reason } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { JobOutput, Step } from "#libs/operations";
import { heldWorkload, outputOf } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { withdraw } from "./move-out.ts";
import {
  atSource,
  atTarget,
  type MoveContext,
  type MoveDeps,
  type MoveInput,
  parcelOf,
  placeOf,
  uuidOf,
} from "./move-state.ts";

/**
 * What it is, and its secrets; its image comes with its files. What the host has of it already is what was left when it
 * was recovered from there: its record names another host, so that nobody runs that any more, and it makes room.
 */
export function makeStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  const { agents, moving } = deps;
  return {
    name: "make",
    async run(context) {
      const { body } = await heldWorkload(deps, context);
      await agents.runStep(context, atTarget(context), "clear", moving.destroy);
      await agents.runStep(context, atTarget(context), "make", moving.make(body, referenceIn(context)));
      return undefined;
    },
    async undo(context) {
      await agents.runStep(context, atTarget(context), "unmake", moving.destroy);
    },
  };
}

/** Taken back by the undo of `make`. */
export function receiveStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "receive",
    async run(context) {
      const { checkpointUid } = parcelOf(deps, context);
      const source = { $case: "reference", value: referenceIn(context) } as const;
      const value = { checkpointUid, parentCheckpointUid: "", source };
      await deps.agents.runStep(context, atTarget(context), "receive", { $case: "receiveCheckpoint", value });
      return undefined;
    },
  };
}

/** Taken back by the undo of `make`. */
export function applyStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "apply",
    async run(context) {
      const { checkpointUid } = parcelOf(deps, context);
      const value = { checkpointUid, generationId: uuidOf(context.operationId), leaveOff: true };
      const action = { $case: "applyCheckpoint", value } as const;
      return outputOf(await deps.agents.runStep(context, atTarget(context), "apply", action));
    },
  };
}

/** It is there: starts it if it ran, and removes what it had where it was and on its way. Safe to repeat. */
export async function goOn<Body extends WorkloadBody>(deps: MoveDeps<Body>, context: MoveContext): Promise<JobOutput> {
  const { agents, scheduler, moving } = deps;
  const { checkpointUid } = parcelOf(deps, context);
  const { uid } = context.input;
  const failure = placeOf(context).isLive ? await start(deps, context) : undefined;
  const remove: AgentAction = { $case: "removeCheckpoints", value: { checkpointUids: [checkpointUid] } };
  const left = outputOf(await agents.runStep(context, atTarget(context), "remove-parcel", remove));
  await agents.runStep(context, atSource(context), "destroy", moving.destroy);
  await scheduler.release({ uid, host: placeOf(context).from });
  await withdraw(deps, context);
  return { ...left, ...(failure === undefined ? {} : { failure }) };
}

/** Failures that tell nothing of the workload. */
const passing: ReadonlySet<Reason> = new Set([
  ...(["UNAVAILABLE", "OUTCOME_UNKNOWN", "HOST_UNREACHABLE", "HOST_NOT_FOUND"] as const),
  ...(["ENGINE_UNAVAILABLE", "DEADLINE_EXCEEDED", "EPOCH_STALE", "OPERATION_CANCELLED"] as const),
]);

/** Gives why it does not run there: that is no reason to stay half-way. */
async function start<Body extends WorkloadBody>(
  { agents, moving }: MoveDeps<Body>,
  context: MoveContext,
): Promise<string | undefined> {
  try {
    await agents.runStep(context, atTarget(context), "start", moving.start);
    return undefined;
  } catch (error) {
    if (context.signal.aborted || !isStillpointError(error) || passing.has(error.reason)) throw error;
    return `${error.reason}: ${error.message}`;
  }
}

const referenceIn = ({ outputs }: MoveContext): string => String(outputs.push?.reference);
