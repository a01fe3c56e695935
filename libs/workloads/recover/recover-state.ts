import type { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import type { Host } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { JobContext } from "#libs/operations";
import type { RecordStore } from "#libs/records";
import type { WorkloadInput, WorkloadJobDeps } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import type { Moving } from "../move/move-state.ts";

export interface RecoverDeps<Body extends WorkloadBody> extends WorkloadJobDeps<Body> {
  readonly moving: Moving<Body>;
  readonly clock: Clock;
  /** From the leader. */
  readonly hosts: Pick<RecordStore<Host>, "get">;
  /** From the leader. */
  readonly recoveryStates: Pick<RecordStore<RecoveryState>, "get">;
}

export interface RecoverInput extends WorkloadInput {
  /** hosts/<host> that is down. */
  readonly from: string;
}

export type RecoverContext = JobContext<RecoverInput>;

/** What step `check` found: what it is recovered from. */
export interface Point {
  /** Resource name of the checkpoint; empty with `home` and `isAnew`. */
  readonly checkpoint: string;
  /** <repository>@sha256:...; empty with the checkpoint. */
  readonly reference: string;
  /** ISO 8601, of its instant. */
  readonly time: string;
  /** How old it was when the recovery began: what was written in that time is lost. */
  readonly ageSeconds: number;
  /** hosts/<host> that has it as it was at that time; absent where it has to be brought. */
  readonly home?: string;
  /** It has no data, and is made of its image. */
  readonly isAnew?: boolean;
}

/** A host that was tried, or is to be. */
export interface Try {
  /** hosts/<host> */
  readonly to: string;
  /** Why it could not be brought there. */
  readonly failure?: string;
}

export function pointOf({ outputs }: Pick<RecoverContext, "outputs">): Point {
  if (outputs.check === undefined) throw new StillpointError("INTERNAL", "step check has no output");
  return outputs.check as unknown as Point;
}

/** The host that it comes to; undefined before it is placed. */
export function targetOf({ outputs }: Pick<RecoverContext, "outputs">): string | undefined {
  const home = (outputs.check as unknown as Point | undefined)?.home;
  if (home !== undefined) return home;
  const placed = outputs["place-again"] ?? outputs.place;
  return placed === undefined ? undefined : (placed as unknown as Try).to;
}
