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

async function wordOn(
  { readWorkload, readDeleted, readOperation }: HeldWordsDeps,
  host: string,
  { uid, workload }: HeldWorkload,
): Promise<keyof HeldWords | "wait"> {
  parseWorkloadName(workload);
  const record = await readWorkload(workload);
  // Without a word on its end its record was lost, and nobody knows yet: rebuilt, it says what is to be.
  if (record === undefined) return (await readDeleted(workload)) === uid ? "endUids" : "wait";
  if (record.uid !== uid || record.body.host !== host) return "endUids";
  if (record.operation === undefined) return "resumeUids";
  const operation = await readOperation(record.operation);
  const isRecovered = operation !== undefined && !operation.done && /^\w+\.recover$/.test(operation.kind);
  return isRecovered ? "wait" : "resumeUids";
}
