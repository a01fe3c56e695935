import type { Reason } from "#libs/errors";
import type { BodyCodec, Json, RecordEvent, StoredRecord } from "#libs/records";

/** What a service asks for when it has checked a request. */
export interface AcceptRequest {
  /** <service>.<verb>; the service's runner has a job of this kind. */
  readonly kind: string;
  /** Resource name of what it works on; empty for a job without a target. */
  readonly target: string;
  readonly input: Json;
  readonly principal: string;
  readonly project: string;
  /** The same id from the same principal in the same project gives the same operation; absent or empty: a new one. */
  readonly requestId?: string;
  /** What has to be equal for a repeated request id; `input` if unsaid. Leave out ids that are made per call. */
  readonly fingerprint?: Json;
  readonly traceparent?: string;
}

/** How the operation takes hold of its target. */
export type TargetWrite<Body> = CreateTarget<Body> | HoldTarget<Body> | LooseTarget;

/** The target does not exist yet: its record is made, held by the operation. */
export interface CreateTarget<Body> {
  readonly create: { readonly uid: string; readonly body: Body; readonly events?: readonly RecordEvent[] };
  /** Turns `body` into ProtoJSON; absent: it is ProtoJSON already. */
  readonly codec?: BodyCodec<Body>;
  /** Why it is refused when a live record has that name; RECORD_CONFLICT if unsaid. */
  readonly existsReason?: Reason;
}

/** The target exists: its pointer is set, on the very state that `expect` has seen. */
export interface HoldTarget<Body> {
  readonly codec?: BodyCodec<Body>;
  /** Throws to refuse. May run several times. */
  readonly expect?: (stored: StoredRecord<Body>) => void;
  /** What else is written together with the pointer. */
  readonly change?: (stored: StoredRecord<Body>) => { readonly body?: Body; readonly events?: readonly RecordEvent[] };
  /**
   * True for an unfinished holder that is ended, as it stands and without an undo, to make room. What it does from then on
   * is refused: it can write nothing more, and whoever holds the target now has a higher epoch.
   */
  readonly supersedes?: (
    holder: { readonly kind: string; readonly input: Json },
    stored: StoredRecord<Body>,
  ) => boolean;
  /** Refuses another incarnation. */
  readonly uid?: string;
  /** Why it is refused when there is no such record; WORKLOAD_NOT_FOUND if unsaid. */
  readonly missingReason?: Reason;
}

/** The target is named for people only and is not held: other operations may work on it meanwhile. */
interface LooseTarget {
  readonly hold: false;
}
