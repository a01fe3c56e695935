import type { ContainerDefinition } from "#contracts/host/v1/agent";
import { isStillpointError, type Reason } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { JobOutput, Step } from "#libs/operations";
import { heldWorkload, outputOf } from "#libs/workloads";
import { destroy, makingWith } from "./making.ts";
import { withdraw } from "./move-out.ts";
import {
  atSource,
  atTarget,
  type MoveContext,
  type MoveDeps,
  type MoveInput,
  parcelOf,
  placeOf,
} from "./move-state.ts";

/** What it is, and its secrets; its image comes with its files. */
export function makeStep(deps: MoveDeps): Step<MoveInput> {
  return {
    name: "make",
    async run(context) {
      const { body } = await heldWorkload(deps, context);
      const action = standingOn(referenceIn(context), makingWith(deps).make(body, false));
      await deps.agents.runStep(context, atTarget(context), "make", action);
      return undefined;
    },
    async undo(context) {
      await deps.agents.runStep(context, atTarget(context), "unmake", destroy);
    },
  };
}

function standingOn(fromCheckpoint: string, action: AgentAction): AgentAction {
  const definition: ContainerDefinition | undefined =
    action.$case === "createContainer" ? action.value.definition : undefined;
  if (definition?.spec === undefined) return action;
  const whole = { ...definition, spec: { ...definition.spec, fromCheckpoint } };
  return { $case: "createContainer", value: { definition: whole, start: false } };
}

/** Taken back by the undo of `make`. */
export function receiveStep({ agents }: MoveDeps): Step<MoveInput> {
  return {
    name: "receive",
    async run(context) {
      const { checkpointUid } = parcelOf(context);
      const source = { $case: "reference", value: referenceIn(context) } as const;
      const value = { checkpointUid, parentCheckpointUid: "", source };
      await agents.runStep(context, atTarget(context), "receive", { $case: "receiveCheckpoint", value });
      return undefined;
    },
  };
}

/** Taken back by the undo of `make`. */
export function applyStep({ agents }: MoveDeps): Step<MoveInput> {
  return {
    name: "apply",
    async run(context) {
      const { checkpointUid } = parcelOf(context);
      const value = { checkpointUid, generationId: context.operationId, leaveOff: true };
      return outputOf(await agents.runStep(context, atTarget(context), "apply", { $case: "applyCheckpoint", value }));
    },
  };
}

/** It is there: starts it if it ran, and removes what it had where it was and on its way. Safe to repeat. */
export async function goOn(deps: MoveDeps, context: MoveContext): Promise<JobOutput> {
  const { agents, scheduler } = deps;
  const { checkpointUid } = parcelOf(context);
  const { uid } = context.input;
  const failure = placeOf(context).isLive ? await start(deps, context) : undefined;
  const remove: AgentAction = { $case: "removeCheckpoints", value: { checkpointUids: [checkpointUid] } };
  const left = outputOf(await agents.runStep(context, atTarget(context), "remove-parcel", remove));
  await agents.runStep(context, atSource(context), "destroy", destroy);
  await scheduler.release({ uid, host: placeOf(context).from });
  await withdraw(deps, context);
  return { ...left, ...(failure === undefined ? {} : { failure }) };
}

/** Failures that tell nothing of the container. */
const passing: ReadonlySet<Reason> = new Set([
  ...(["UNAVAILABLE", "OUTCOME_UNKNOWN", "HOST_UNREACHABLE", "HOST_NOT_FOUND"] as const),
  ...(["ENGINE_UNAVAILABLE", "DEADLINE_EXCEEDED", "EPOCH_STALE", "OPERATION_CANCELLED"] as const),
]);

/** Gives why it does not run there: that is no reason to stay half-way. */
async function start({ agents }: MoveDeps, context: MoveContext): Promise<string | undefined> {
  try {
    await agents.runStep(context, atTarget(context), "start", { $case: "startContainer", value: {} });
    return undefined;
  } catch (error) {
    if (context.signal.aborted || !isStillpointError(error) || passing.has(error.reason)) throw error;
    return `${error.reason}: ${error.message}`;
  }
}

const referenceIn = ({ outputs }: MoveContext): string => String(outputs.push?.reference);
