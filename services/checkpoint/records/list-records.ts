import { decodeRecord, type Log, nameOfSubject, type RecordStore, type StoredRecord } from "#libs/records";

/** The live records under a filter, from the leader, oldest uid first: uids sort by time. */
export async function listRecords<Body>(
  log: Pick<Log, "newest">,
  records: RecordStore<Body>,
  filter: string,
): Promise<StoredRecord<Body>[]> {
  const messages = await log.newest(filter);
  const live = messages.filter(({ data }) => decodeRecord(data).deleted !== true);
  const found = await Promise.all(live.map(({ subject }) => records.get(nameOfSubject(subject))));
  return found.filter((record) => record !== undefined).toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
}
