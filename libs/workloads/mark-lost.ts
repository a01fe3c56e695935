import { StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { RecordStore, StoredRecord } from "#libs/records";
import { notFound, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

export interface LostDeps<Body extends WorkloadBody> {
  readonly kind: WorkloadKind<Body>;
  readonly records: RecordStore<Body>;
  readonly operations: Pick<Operations, "get">;
}

/** Who was lost, and with which host. */
export interface Lost {
  readonly name: string;
  readonly uid: string;
  /** hosts/<host> */
  readonly host: string;
}

/**
 * Writes down that a workload is gone with its host. One that has left that host, or was made again, stays as it is.
 * @throws StillpointError TARGET_BUSY while an operation holds it, which may save it
 */
export async function markLost<Body extends WorkloadBody>(
  { kind, records, operations }: LostDeps<Body>,
  { name, uid, host }: Lost,
): Promise<StoredRecord<Body>> {
  kind.projectOf(name);
  const holder = (await records.get(name))?.operation;
  // One that has ended holds nothing, though it did not come to say so.
  const ended = holder !== undefined && (await operations.get(holder))?.done !== false ? holder : undefined;
  const stored = await records.modify(name, ({ body, operation }) => {
    if (body.uid !== uid || body.host !== host) return undefined;
    if (operation !== undefined && operation !== ended) throw busy(name, operationName(operation));
    const stateReason = `it was lost with ${host}`;
    const events = [workloadEvent(kind, "lost", body, { host })];
    return { body: { ...body, host: "", state: kind.states.failed, stateReason }, operation: null, events };
  });
  if (stored === undefined) throw notFound(kind, name);
  return stored;
}

const busy = (name: string, operation: string) =>
  new StillpointError("TARGET_BUSY", `${name} is held by ${operation}`, { metadata: { operation } });
