import type { Heartbeat, HeldWorkload } from "#contracts/host/v1/agent";
import type { Operation } from "#contracts/operation/v1/operation";
import { parseWorkloadName } from "#libs/names";
import type { Json, StoredRecord } from "#libs/records";

export interface HeldWordsDeps {
  /** A workload as it stands now, from the leader. */
  readonly readWorkload: (name: string) => Promise<StoredRecord<Json> | undefined>;
  /** uid of the workload of that name whose deletion is the last that its record says, from the leader. */
  readonly readDeleted: (name: string) => Promise<string | undefined>;
  /** An operation by its id, as it stands now; undefined when it is long over. */
  readonly readOperation: (id: string) => Promise<Pick<Operation, "kind" | "done"> | undefined>;
}

export interface HeldWords {
  /** They go on where they are. */
  readonly resumeUids: string[];
  /** They run elsewhere, or are gone. */
  readonly endUids: string[];
}

const atOnce = 16;

/**
 * What becomes of workloads that their host has paused when its lease ran out. Ask when the host's record says, in the
 * log, that it is heard: a recovery takes hold of the workload first and reads the host's record after that, so that one
 * of the two sees the other. Of one that is being recovered nothing is said; it stays paused.
 */
export async function wordsOn(
  deps: HeldWordsDeps,
  { host, held }: Pick<Heartbeat, "host" | "held">,
): Promise<HeldWords> {
  const words: HeldWords = { resumeUids: [], endUids: [] };
  const waiting = held.values();
  const work = async () => {
    for (const workload of waiting) {
      const word = await wordOn(deps, host, workload);
      if (word !== "wait") words[word].push(workload.uid);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, held.length) }, work));
  return words;
}

type Word = keyof HeldWords | "wait";

async function wordOn(deps: HeldWordsDeps, host: string, { uid, workload }: HeldWorkload): Promise<Word> {
  parseWorkloadName(workload);
  const record = await deps.readWorkload(workload);
  // Without a word on its end its record was lost, and nobody knows yet: rebuilt, it says what is to be.
  if (record === undefined) return (await deps.readDeleted(workload)) === uid ? "endUids" : "wait";
  if (record.uid !== uid) return "endUids";
  return record.body.host === host ? await wordHere(deps, record) : await wordElsewhere(deps, record);
}

async function wordHere(deps: HeldWordsDeps, record: StoredRecord<Json>): Promise<Word> {
  const holder = await unfinished(deps, record);
  return holder !== undefined && /^\w+\.recover$/.test(holder.kind) ? "wait" : "resumeUids";
}

/** What is made here, or comes here, has its host written at the end, before its operation is over. */
async function wordElsewhere(deps: HeldWordsDeps, record: StoredRecord<Json>): Promise<Word> {
  if (record.operation === undefined) return "endUids";
  if ((await unfinished(deps, record)) !== undefined) return "wait";
  const isStill = (await deps.readWorkload(record.name))?.version === record.version;
  return isStill ? "endUids" : "wait";
}

/** The operation that holds it. */
async function unfinished({ readOperation }: HeldWordsDeps, { operation }: StoredRecord<Json>) {
  const holder = operation === undefined ? undefined : await readOperation(operation);
  return holder?.done === false ? holder : undefined;
}
