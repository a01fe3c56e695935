import type { Observation } from "#contracts/host/v1/agent";
import type { RecordStore, StoredRecord } from "#libs/records";
import type { Folded, WorkloadBody } from "./kind.ts";

/**
 * The workload that an observation is about. "nobody" when it is gone, was made again, or has left that host: nobody
 * asks any more. "early" while an operation has not yet said on which host it is.
 */
export async function observed<Body extends WorkloadBody>(
  records: RecordStore<Body>,
  { workload, uid, host }: Observation,
): Promise<StoredRecord<Body> | "nobody" | "early"> {
  const stored = await records.get(workload);
  if (stored === undefined || stored.uid !== uid) return "nobody";
  if (stored.body.host === "") return stored.operation === undefined ? "nobody" : "early";
  return stored.body.host === host ? stored : "nobody";
}

/** Takes into the record what `fold` makes of it; leaves it alone when that is nothing, or it is another incarnation. */
export async function foldObserved<Body extends WorkloadBody>(
  records: RecordStore<Body>,
  { workload, uid }: Observation,
  fold: (body: Body) => Folded<Body> | undefined,
): Promise<true> {
  await records.modify(workload, ({ body }) => (body.uid === uid ? fold(body) : undefined));
  return true;
}
