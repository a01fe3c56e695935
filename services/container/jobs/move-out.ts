import { ContainerSpec } from "#contracts/container/v1/container";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Step } from "#libs/operations";
import { heldWorkload } from "#libs/workloads";
import { withoutSecrets } from "../container-record.ts";
import { atSource, type MoveContext, type MoveDeps, type MoveInput, parcelOf, placeOf } from "./move-state.ts";

export function stopStep({ agents }: MoveDeps): Step<MoveInput> {
  return {
    name: "stop",
    async run(context) {
      const { timeoutSeconds } = context.input;
      await agents.runStep(context, atSource(context), "stop", { $case: "stopContainer", value: { timeoutSeconds } });
      return undefined;
    },
    async undo(context) {
      if (!placeOf(context).isLive || context.input.staysStopped) return;
      await agents.runStep(context, atSource(context), "start-again", { $case: "startContainer", value: {} });
    },
  };
}

/** Its volumes and its writable layer, at rest. */
export function takeStep({ agents }: MoveDeps): Step<MoveInput> {
  return {
    name: "take",
    async run(context) {
      const { checkpointUid } = parcelOf(context);
      const value = { checkpointUid, parentCheckpointUid: "", excludeDisks: [] };
      await agents.runStep(context, atSource(context), "take", { $case: "takeOffline", value });
      return undefined;
    },
    async undo(context) {
      const { checkpointUid } = parcelOf(context);
      const action = { $case: "discardCheckpoint", value: { checkpointUid } } as const;
      await agents.runStep(context, atSource(context), "undo-take", action);
    },
  };
}

/** Gives where it is in the registry: `<repository>@sha256:...`. */
export function pushStep(deps: MoveDeps): Step<MoveInput> {
  return {
    name: "push",
    async run(context) {
      const { checkpointUid, repository, tag } = parcelOf(context);
      const record = await recordOf(deps, context);
      const value = { checkpointUid, workloadUid: context.input.uid, repository, tag, record };
      const action = { $case: "pushCheckpoint", value } as const;
      const { pushed } = await deps.agents.runStep(context, atSource(context), "push", action);
      if (pushed === undefined) throw new StillpointError("INTERNAL", "the host did not say what it pushed");
      return { reference: `${repository}@${pushed.digest}` };
    },
    undo: (context) => withdraw(deps, context),
  };
}

/** Takes what was pushed out of the registry; what it consists of goes when that is collected. */
export async function withdraw({ images }: MoveDeps, context: MoveContext): Promise<void> {
  const { repository, tag } = parcelOf(context);
  try {
    await images.deleteImage({ reference: `${repository}:${tag}` });
  } catch (error) {
    if (!isStillpointError(error, "IMAGE_NOT_FOUND")) throw error;
  }
}

/** Secrets do not go through the registry: the other host is given them by this service. */
async function recordOf(deps: MoveDeps, context: MoveContext) {
  const { checkpointUid } = parcelOf(context);
  const { body } = await heldWorkload(deps, context);
  const { spec } = withoutSecrets(body);
  return {
    ...{ name: `${context.target}/checkpoints/${checkpointUid}`, displayName: checkpointUid, parent: "" },
    ...{ consistency: "offline", createTime: deps.clock.now().toISOString(), receipt: {} },
    spec: ContainerSpec.toJSON(ContainerSpec.fromPartial({ ...spec, secrets: [], image: body.imageDigest })),
  };
}
