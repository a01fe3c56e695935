import { type Operation, OperationState } from "#contracts/operation/v1/operation";
import { errorTable, type Reason, StillpointError } from "#libs/errors";
import type { Json, LogMessage, RecordEvent } from "#libs/records";
import type { JobOutput } from "./job.ts";
import type { LiveState } from "./job-state.ts";

/** An operation as it is stored: one message of stream OPS is one whole state. operation-state.ts says what may change. */
export interface OperationRecord {
  readonly id: string;
  readonly kind: string;
  /** Resource name; empty when there is no target. */
  readonly target: string;
  readonly principal: string;
  readonly project: string;
  /** Digest of what was asked: tells a repeated request from another one under the same request id. */
  readonly fingerprint: string;
  readonly input: Json;
  readonly traceparent?: string;
  readonly createTime: string;
  readonly updateTime: string;

  readonly state: StateName;
  readonly phase: Phase;
  /** Name of the step that runs or is undone; empty before the first and outside of both. */
  readonly step: string;
  /** How often this step was begun, by this worker or others. */
  readonly attempt: number;
  /** Steps that had nothing to do; they have nothing to undo. */
  readonly skipped: readonly string[];
  readonly outputs: Readonly<Record<string, JobOutput>>;
  readonly claim?: ClaimRecord;
  /** How the target is to be held; gone once a worker has claimed the operation. */
  readonly acquire?: Acquire;
  readonly cancelRequested?: boolean;
  /** Why it is being undone, or why it ended. */
  readonly error?: StoredError;
  /** An undo failed. */
  readonly attention?: boolean;
  /** It was refused before it began: whoever asks again gets the error, not the operation. */
  readonly refused?: boolean;
  readonly output?: JobOutput;
  /** Message id of this write: two states are never equal by accident. */
  readonly write: string;
}

type StateName = "pending" | "running" | "succeeded" | "failed" | "cancelled" | "needs_attention";
type Phase = "steps" | "undo" | "conclude";

interface ClaimRecord {
  readonly worker: string;
  /** Sequence of the message by which the worker claimed the operation; absent in that message itself. */
  readonly epoch?: number;
}

export interface Acquire {
  readonly create?: { readonly uid: string; readonly body: Json; readonly events: readonly RecordEvent[] };
  /** Why it is refused when a live record has the name of the one to create. */
  readonly existsReason?: Reason;
}

export interface StoredError {
  readonly reason: Reason;
  readonly message: string;
  readonly help: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A state and where it stands in the log. */
export interface StoredOperation {
  readonly record: OperationRecord;
  readonly version: number;
}

const PREFIX = "op.";
export const ALL_OPERATIONS = "op.>";
export const subjectOfOperation = (id: string): string => PREFIX + id;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const PEEKED_BYTES = 160;

export function encodeOperation(record: OperationRecord): Uint8Array {
  return encoder.encode(JSON.stringify(record));
}

export function decodeOperation({ data, sequence }: LogMessage): StoredOperation {
  return { record: JSON.parse(decoder.decode(data)) as OperationRecord, version: sequence };
}

/** Of which operation and service a message is, without a look at the rest of it where that can be had. */
export function peekOperation({ data, subject, sequence, time }: LogMessage): { id: string; service: string } {
  const head = decoder.decode(data.subarray(0, PEEKED_BYTES));
  const [, id, kind] = /^\{"id":"([\w.-]+)","kind":"([\w.-]+)"/.exec(head) ?? [];
  if (id !== undefined && kind !== undefined) return { id, service: serviceOf(kind) };
  const { record } = decodeOperation({ data, subject, sequence, time });
  return { id: record.id, service: serviceOf(record.kind) };
}

/** <service>.<verb> */
export const serviceOf = (kind: string): string => kind.slice(0, kind.indexOf("."));

/** The fencing token of the claim on it; 0 when nobody has claimed it. */
export function epochOf({ record, version }: StoredOperation): number {
  return record.claim === undefined ? 0 : (record.claim.epoch ?? version);
}

export function storeError(error: StillpointError): StoredError {
  const { reason, message, help, metadata } = error;
  return { reason, message, help, metadata };
}

export function restoreError({ reason, message, help, metadata }: StoredError): StillpointError {
  return new StillpointError(reason, message, { help, metadata });
}

/** @throws StillpointError why it was refused, if it was */
export function throwRefusal({ refused, error }: OperationRecord): void {
  if (refused === true && error !== undefined) throw restoreError(error);
}

/** It was given up while it was being accepted: nobody was told of it, and the request may go on under another id. */
export const isAbandoned = ({ refused, error }: OperationRecord): boolean =>
  refused === true && error?.reason === "OPERATION_ABANDONED";

const states = {
  pending: OperationState.PENDING,
  running: OperationState.RUNNING,
  succeeded: OperationState.SUCCEEDED,
  failed: OperationState.FAILED,
  cancelled: OperationState.CANCELLED,
  needs_attention: OperationState.NEEDS_ATTENTION,
} as const;

/** Nobody has taken it yet. */
const isAwaited = ({ state, claim }: OperationRecord): boolean => state === "pending" && claim === undefined;

export const isTerminal = ({ state }: OperationRecord): boolean => state !== "pending" && state !== "running";

/** The operation as the API shows it, with its live progress where something is known. */
export function toOperation(record: OperationRecord, live?: LiveState): Operation {
  const done = isTerminal(record);
  const { output, error } = record;
  return {
    name: `operations/${record.id}`,
    kind: record.kind,
    target: record.target,
    state: isAwaited(record) || record.state !== "pending" ? states[record.state] : OperationState.RUNNING,
    done,
    progress: done ? undefined : progressOf(record, live),
    output: record.state === "succeeded" ? { ...output } : undefined,
    error: done && error !== undefined ? { ...error, code: errorTable[error.reason]?.code ?? 13 } : undefined,
    createTime: new Date(record.createTime),
    updateTime: new Date(record.updateTime),
    principal: record.principal,
    traceparent: record.traceparent ?? "",
  };
}

/** How progress names where an operation is. */
const stepNames: Readonly<Record<OperationRecord["phase"], (step: string) => string>> = {
  steps: (step) => step,
  undo: (step) => `undo ${step}`,
  conclude: () => "conclude",
};

function progressOf(record: OperationRecord, live: LiveState | undefined): Operation["progress"] {
  if (isAwaited(record)) return undefined;
  const { step, phase, claim } = record;
  const current = live !== undefined && live.step === step ? live : undefined;
  return {
    step: stepNames[phase](step),
    percent: Math.round(current?.percent ?? 0),
    bytesDone: current?.bytesDone ?? 0,
    bytesTotal: current?.bytesTotal ?? 0,
    message: current?.message ?? "",
    worker: claim?.worker ?? "",
  };
}
