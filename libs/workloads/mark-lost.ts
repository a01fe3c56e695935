import { StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { RecordStore, StoredRecord } from "#libs/records";
import { type Folded, notFound, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

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
 * Writes down that a workload is gone with its host. One that has left that host, or was made again, stays as it is. One
 * that was moved to it, and that the host it came from still has, is there again, as it was then.
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
    const isLeft = body.uid === uid && body.movedFrom?.host === host;
    if (body.uid !== uid || (body.host !== host && !isLeft)) return undefined;
    if (operation !== undefined && operation !== ended) throw busy(name, operationName(operation));
    if (isLeft) return { body: { ...body, movedFrom: undefined }, operation: null };
    return { ...without(kind, body), operation: null };
  });
  if (stored === undefined) throw notFound(kind, name);
  return stored;
}

function without<Body extends WorkloadBody>(kind: WorkloadKind<Body>, body: Body): Folded<Body> {
  const { host, movedFrom } = body;
  if (movedFrom === undefined) {
    const stateReason = `it was lost with ${host}`;
    const events = [workloadEvent(kind, "lost", body, { host })];
    return { body: { ...body, host: "", state: kind.states.failed, stateReason }, events };
  }
  const stateReason = `${host} was lost; it is as it was when it was moved there`;
  const events = [workloadEvent(kind, "moved", body, { from: host, to: movedFrom.host, why: "lost" })];
  return {
    body: { ...body, host: movedFrom.host, movedFrom: undefined, state: kind.states.stopped, stateReason },
    events,
  };
}

const busy = (name: string, operation: string) =>
  new StillpointError("TARGET_BUSY", `${name} is held by ${operation}`, { metadata: { operation } });
