import type { KeptRecord } from "#contracts/host/v1/agent";
import { decodeRecord, type LogMessage } from "#libs/records";
import type { KnownRecord } from "./known.ts";

/** A message of stream REC. */
export function knownRecord({ sequence, data }: Pick<LogMessage, "sequence" | "data">): KnownRecord {
  const { name, uid, operation, body, deleted = false } = decodeRecord(data);
  return { name, uid, version: sequence, deleted, operation, body };
}

/** Copies as a host keeps them. */
export function recordsOf(records: readonly KeptRecord[]): KnownRecord[] {
  return records.map(({ name, version, message, deleted }) =>
    deleted
      ? { name, uid: "", version, deleted, body: {} }
      : { ...knownRecord({ sequence: version, data: message }), version },
  );
}
