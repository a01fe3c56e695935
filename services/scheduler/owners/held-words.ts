import type { Heartbeat, HeldWorkload } from "#contracts/host/v1/agent";
import type { Operation } from "#contracts/operation/v1/operation";
import { parseWorkloadName } from "#libs/names";
import type { Json, StoredRecord } from "#libs/records";
import { mayBringAway } from "#libs/workloads";

export interface HeldWordsDeps {
  /** A workload as it stands now, from the leader. */
  readonly readWorkload: (name: string) => Promise<StoredRecord<Json> | undefined>;
  /** uid of the workload of that name whose deletion is the last that its record says, from the leader. */
  readonly readDeleted: (name: string) => Promise<string | undefined>;
  /** An operation by its id, as it stands now; undefined when it is long over. */
  readonly readOperation: (id: string) => Promise<Holder | undefined>;
}

type Holder = Pick<Operation, "kind" | "done" | "progress">;

export interface HeldWords {
  /** They go on, or start, where they are. */
  readonly resumeUids: string[];
  /** They run elsewhere, or are gone. */
  readonly endUids: string[];
}

const atOnce = 16;

/**
 * What becomes of workloads that their host has paused when its lease ran out, or that it is to start for the first time
 * since. Ask when the host's record says, in the log, that it is heard: a recovery takes hold of the workload first and
 * reads the host's record after that, so that one of the two sees the other. Of one that a recovery may yet bring away
 * nothing is said: it stays as it is.
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
  const isHere = record.body.host === host;
  if (record.operation === undefined) return isHere ? "resumeUids" : "endUids";
  const operation = await deps.readOperation(record.operation);
  // Between the two the operation may have changed the record, and have ended.
  if ((await deps.readWorkload(workload))?.version !== record.version) return "wait";
  const holder = operation?.done === false ? operation : undefined;
  return isHere ? wordHere(holder) : wordElsewhere(record, holder);
}

function wordHere(holder: Holder | undefined): Word {
  return holder !== undefined && mayBringAway(holder) ? "wait" : "resumeUids";
}

/** What comes here has its host written before it runs; what is made here, at the end, before its operation is over. */
function wordElsewhere({ body }: StoredRecord<Json>, holder: Holder | undefined): Word {
  if (holder === undefined) return "endUids";
  const isMade = (body.host ?? "") === "" && /^\w+\.create$/.test(holder.kind);
  return isMade ? "resumeUids" : "wait";
}
