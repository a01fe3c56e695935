import { isStillpointError } from "#libs/errors";
import type { NewRecord, RecordStore, StoredRecord } from "./record.ts";

/**
 * Creates a record, or gives the one that has its uid: for uids that a repetition of the same request gives again.
 * Fails with RECORD_CONFLICT when another live record has that name, or when this one is gone already.
 */
export async function createOnce<Body>(
  store: RecordStore<Body>,
  name: string,
  record: NewRecord<Body>,
): Promise<StoredRecord<Body>> {
  try {
    return await store.create(name, record);
  } catch (error) {
    const found = isStillpointError(error, "RECORD_CONFLICT") ? await store.get(name) : undefined;
    if (found?.uid !== record.uid) throw error;
    return found;
  }
}
