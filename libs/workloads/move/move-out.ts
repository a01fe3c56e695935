import { isStillpointError, type Reason, StillpointError } from "#libs/errors";
import type { Step } from "#libs/operations";
import { heldWorkload } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { atSource, type MoveContext, type MoveDeps, type MoveInput, parcelOf, placeOf } from "./move-state.ts";
import { patiently } from "./patiently.ts";

/** Longer than a host takes that was not heard of, and is back or down. */
const patienceMs = 60_000;

export function stopStep<Body extends WorkloadBody>({ agents, moving, clock }: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "stop",
    async run(context) {
      await agents.runStep(context, atSource(context), "stop", moving.stop(context.input.timeoutSeconds));
      return undefined;
    },
    async undo(context) {
      if (!placeOf(context).isLive || context.input.staysStopped) return;
      const patience = { clock, signal: context.signal, forMs: patienceMs };
      await patiently(patience, () => agents.runStep(context, atSource(context), "start-again", moving.start));
    },
  };
}

/** Its disks, or its volumes and its writable layer, at rest. */
export function takeStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  const { agents, clock } = deps;
  return {
    name: "take",
    async run(context) {
      const { checkpointUid } = parcelOf(deps, context);
      const value = { checkpointUid, parentCheckpointUid: "", excludeDisks: [] };
      await agents.runStep(context, atSource(context), "take", { $case: "takeOffline", value });
      return undefined;
    },
    async undo(context) {
      const { checkpointUid } = parcelOf(deps, context);
      const action = { $case: "discardCheckpoint", value: { checkpointUid } } as const;
      const patience = { clock, signal: context.signal, forMs: patienceMs };
      await patiently(patience, () => agents.runStep(context, atSource(context), "undo-take", action));
    },
  };
}

/** Gives where it is in the registry: `<repository>@sha256:...`. */
export function pushStep<Body extends WorkloadBody>(deps: MoveDeps<Body>): Step<MoveInput> {
  return {
    name: "push",
    async run(context) {
      const { checkpointUid, repository, tag } = parcelOf(deps, context);
      const record = await recordOf(deps, context);
      const value = { checkpointUid, workloadUid: context.input.uid, repository, tag, record };
      const action = { $case: "pushCheckpoint", value } as const;
      const { pushed } = await deps.agents.runStep(context, atSource(context), "push", action);
      if (pushed === undefined) throw new StillpointError("INTERNAL", "the host did not say what it pushed");
      return { reference: `${repository}@${pushed.digest}` };
    },
    /** What a registry keeps that does not answer must not keep the workload from being started again. */
    async undo(context) {
      await withdraw(deps, context).catch((error: unknown) => {
        if (!isStillpointError(error) || !awayRegistry.has(error.reason)) throw error;
      });
    },
  };
}

const awayRegistry: ReadonlySet<Reason> = new Set(["UNAVAILABLE", "REGISTRY_UNREACHABLE"] as const);

/** Takes what was pushed out of the registry; what it consists of goes when that is collected. */
export async function withdraw<Body extends WorkloadBody>(deps: MoveDeps<Body>, context: MoveContext): Promise<void> {
  const { repository, tag } = parcelOf(deps, context);
  try {
    await deps.images.deleteImage({ reference: `${repository}:${tag}` });
  } catch (error) {
    if (!isStillpointError(error, "IMAGE_NOT_FOUND")) throw error;
  }
}

/** Secrets do not go through the registry: the other host is given them by this service. */
async function recordOf<Body extends WorkloadBody>(deps: MoveDeps<Body>, context: MoveContext) {
  const { checkpointUid } = parcelOf(deps, context);
  const { body } = await heldWorkload(deps, context);
  return {
    ...{ name: `${context.target}/checkpoints/${checkpointUid}`, displayName: checkpointUid, parent: "" },
    ...{ consistency: "offline", createTime: deps.clock.now().toISOString(), receipt: {} },
    spec: deps.moving.told(body),
  };
}
