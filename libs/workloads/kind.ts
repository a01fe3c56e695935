import type { Workload } from "#contracts/host/v1/agent";
import type { CheckpointReadiness, CheckpointStorage, MovedFrom, Recovery, RecoveryPoint } from "#contracts/vm/v1/vm";
import { type Reason, StillpointError } from "#libs/errors";
import type { BodyCodec, RecordEvent } from "#libs/records";

/** The record of a workload, as far as it is the same for VMs and containers. */
export interface WorkloadBody {
  readonly name: string;
  readonly uid: string;
  /** hosts/<host>; empty before placement. */
  readonly host: string;
  /** The host that still has it as it was before its move. */
  readonly movedFrom?: MovedFrom | undefined;
  /** A word of the kind's own enum. */
  readonly state: string;
  readonly stateReason: string;
  readonly imageDigest: string;
  readonly operation: string;
  readonly version: number;
  readonly updateTime?: Date | undefined;
  readonly checkpointReadiness?: CheckpointReadiness | undefined;
  readonly checkpointStorage?: CheckpointStorage | undefined;
  readonly recoveryPoint?: RecoveryPoint | undefined;
  readonly spec?: { readonly recovery?: Recovery } | undefined;
}

export interface Folded<Body> {
  readonly body: Body;
  /** What that means happened; empty when nothing did. */
  readonly events: readonly RecordEvent[];
}

/** Why an action is refused in a state, and what to do. */
export interface Refusal {
  /** "is running": the sentence's subject is the workload. */
  readonly message: string;
  readonly help: string;
}

/** What the shared parts have to know of VMs, or of containers. */
export interface WorkloadKind<Body extends WorkloadBody> {
  /** Aggregate of its events, first word of its jobs, prefix of its uids but for containers. */
  readonly word: "vm" | "container";
  /** In sentences. */
  readonly noun: "VM" | "container";
  readonly codec: BodyCodec<Body>;
  /** The states that shared jobs leave it in: while it is removed, when that or its making failed half-way, when it runs or is off. */
  readonly states: {
    readonly deleting: Body["state"];
    readonly failed: Body["state"];
    readonly running: Body["state"];
    readonly stopped: Body["state"];
  };
  readonly reasons: {
    readonly missing: Reason;
    readonly exists: Reason;
    readonly state: Reason;
    readonly hasCheckpoints: Reason;
    readonly hasProtected: Reason;
  };
  /** The project in a resource name. Fails with NAME_INVALID for the name of anything else. */
  projectOf(name: string): string;
  refusal(action: string, state: string, force: boolean): Refusal | undefined;
  /** Its host tells of every change after a step, in order: what is told is not to be overtaken by a look at it. */
  readonly isFollowed: boolean;
  /** The workload with what its host says of it. `reason`: why it is so, for people. */
  fold(body: Body, workload: Workload, reason?: string): Folded<Body>;
}

/** Something that happened to a workload. */
export function workloadEvent(
  { word }: Pick<WorkloadKind<WorkloadBody>, "word">,
  happened: string,
  { uid }: Pick<WorkloadBody, "uid">,
  data: Readonly<Record<string, unknown>> = {},
): RecordEvent {
  return { aggregate: word, happened, data: { uid, ...data } };
}

export const notFound = (
  { noun, reasons }: Pick<WorkloadKind<WorkloadBody>, "noun" | "reasons">,
  name: string,
): StillpointError => new StillpointError(reasons.missing, `there is no ${noun} ${name}`);
