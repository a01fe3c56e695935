import type { Container } from "#contracts/container/v1/container";
import type { ImagesClient } from "#contracts/registry/v1/registry";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { JobContext } from "#libs/operations";
import type { AcceptDeps, WorkloadInput, WorkloadJobDeps } from "#libs/workloads";
import type { MakingDeps } from "./making.ts";

export interface MoveDeps extends WorkloadJobDeps<Container>, MakingDeps {
  readonly images: Pick<ImagesClient, "deleteImage">;
  readonly countCheckpoints: AcceptDeps<Container>["countCheckpoints"];
  readonly clock: Clock;
}

export interface MoveInput extends WorkloadInput {
  /** 0 means no grace. */
  readonly timeoutSeconds: number;
  /** After a failure it is not started again where it was. */
  readonly staysStopped: boolean;
}

export type MoveContext = JobContext<MoveInput>;

/** What step `place` found. */
interface Place {
  /** hosts/<host>, both. */
  readonly from: string;
  readonly to: string;
  /** It ran when the move began, or was about to. */
  readonly isLive: boolean;
}

export function placeOf({ outputs }: Pick<MoveContext, "outputs">): Place {
  if (outputs.place === undefined) throw new StillpointError("INTERNAL", "step place has no output");
  return outputs.place as unknown as Place;
}

/** What goes through the registry, under names that no other move has. */
export function parcelOf({ operationId, input: { uid } }: Pick<MoveContext, "operationId" | "input">) {
  const digits = /^op-(\w{8})-?(\w{4})-?(\w{4})-?(\w{4})-?(\w{12})$/.exec(operationId)?.slice(1) ?? [];
  const checkpointUid = `ckpt-${digits.join("-")}`;
  return { checkpointUid, repository: `container-checkpoints/moves/${uid}`, tag: checkpointUid };
}

export const atSource = (context: MoveContext) => ({ host: placeOf(context).from, uid: context.input.uid });
export const atTarget = (context: MoveContext) => ({ host: placeOf(context).to, uid: context.input.uid });

export const isLive = (state: string): boolean =>
  ["RUNNING", "RESTARTING", "PAUSED"].includes(state.replace("CONTAINER_STATE_", ""));
