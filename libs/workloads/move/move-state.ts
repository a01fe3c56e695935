import type { ImagesClient } from "#contracts/registry/v1/registry";
import type { Requirements } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { type Reason, StillpointError } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { JobContext } from "#libs/operations";
import type { Json } from "#libs/records";
import type { AcceptDeps } from "../accept.ts";
import type { WorkloadInput, WorkloadJobDeps } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";

/** How a workload of a kind is taken from one host and made on another. */
export interface Moving<Body extends WorkloadBody> {
  requirements(body: Body): Partial<Requirements>;
  /** True where it runs, or is about to. */
  isLive(state: string): boolean;
  /** Why it has to stay where it is; undefined when nothing binds it there. `checkpoints`: without recovery points. */
  whyBound(body: Body, checkpoints: number): string | undefined;
  readonly boundReason: Reason;
  /** Folder of the registry for what is on its way. */
  readonly repository: string;
  stop(timeoutSeconds: number): AgentAction;
  readonly start: AgentAction;
  /** Makes it as it is, for the files of that checkpoint to come. */
  make(body: Body, reference: string): AgentAction;
  /** Makes it of its image, where it has no data and so needs no checkpoint to be recovered from; undefined where it has. */
  anew?(body: Body): AgentAction | undefined;
  /** Removes all that a host has of it; right where it has nothing. */
  readonly destroy: AgentAction;
  /** What the registry is told of it: no secrets. */
  told(body: Body): Json;
}

export interface MoveDeps<Body extends WorkloadBody> extends WorkloadJobDeps<Body> {
  readonly images: Pick<ImagesClient, "deleteImage">;
  readonly countCheckpoints: AcceptDeps<Body>["countCheckpoints"];
  readonly clock: Clock;
  readonly moving: Moving<Body>;
}

export interface MoveInput extends WorkloadInput {
  /** How long it may take to stop. */
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
export function parcelOf<Body extends WorkloadBody>(
  { moving }: Pick<MoveDeps<Body>, "moving">,
  { operationId, input: { uid } }: Pick<MoveContext, "operationId" | "input">,
) {
  const checkpointUid = `ckpt-${uuidOf(operationId)}`;
  return { checkpointUid, repository: `${moving.repository}/${uid}`, tag: checkpointUid };
}

/** A UUID that is the operation's own, the same however often it begins again. */
export function uuidOf(operationId: string): string {
  const digits = /^op-(\w{8})-?(\w{4})-?(\w{4})-?(\w{4})-?(\w{12})$/.exec(operationId)?.slice(1);
  if (digits === undefined) throw new StillpointError("INTERNAL", `${operationId} has no digits for a UUID`);
  return digits.join("-");
}

export const atSource = (context: MoveContext) => ({ host: placeOf(context).from, uid: context.input.uid });
