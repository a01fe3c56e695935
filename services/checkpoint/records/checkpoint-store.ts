import type { Checkpoint, Head } from "#contracts/checkpoint/v1/checkpoint";
import { isStillpointError } from "#libs/errors";
import { headName, workloadOf } from "#libs/names";
import { type Log, type RecordEvent, type RecordStore, type StoredRecord, subjectOfName } from "#libs/records";
import type { Tree } from "../domain/tree.ts";
import { listRecords } from "./list-records.ts";

/** The checkpoints of one incarnation of a workload, oldest first, and where *now* stands. */
export interface StoredTree {
  readonly checkpoints: readonly StoredRecord<Checkpoint>[];
  /** Undefined before the first checkpoint. */
  readonly head: StoredRecord<Head> | undefined;
}

/** The shape of it, for the rules in domain/tree.ts. */
export function treeOf({ checkpoints, head }: StoredTree): Tree<Checkpoint> {
  return { nodes: checkpoints.map(({ body }) => body), head: head?.body.parent ?? "" };
}

export interface Workload {
  readonly name: string;
  readonly uid: string;
}

export interface CheckpointStoreDeps {
  readonly log: Pick<Log, "newest">;
  readonly checkpoints: RecordStore<Checkpoint>;
  readonly heads: RecordStore<Head>;
}

async function listOfBoth<T>(list: (of: string) => Promise<T[]>): Promise<T[]> {
  return [...(await list("rec.projects.*.vms.*")), ...(await list("rec.projects.*.containers.*"))];
}

/** Every record that this service owns: checkpoints and heads. Reads come from the leader. */
export class CheckpointStore {
  readonly #deps: CheckpointStoreDeps;

  constructor(deps: CheckpointStoreDeps) {
    this.#deps = deps;
  }

  get records(): RecordStore<Checkpoint> {
    return this.#deps.checkpoints;
  }

  /** What belongs to an older incarnation of that name is left out. */
  async tree({ name, uid }: Workload): Promise<StoredTree> {
    const [all, head] = await Promise.all([
      listRecords(this.#deps.log, this.#deps.checkpoints, `${subjectOfName(name)}.checkpoints.*`),
      this.#deps.heads.get(headName(name)),
    ]);
    const checkpoints = all.filter(({ body }) => body.workloadUid === uid);
    return { checkpoints, head: head?.body.workloadUid === uid ? head : undefined };
  }

  /** Every workload that has a checkpoint or a head, in any project. */
  async workloads(): Promise<Workload[]> {
    const { log, heads } = this.#deps;
    const [checkpoints, headRecords] = await Promise.all([
      listOfBoth((of) => listRecords(log, this.#deps.checkpoints, `${of}.checkpoints.*`)),
      listOfBoth((of) => listRecords(log, heads, `${of}.head`)),
    ]);
    const found = [
      ...checkpoints.map(({ name, body }) => ({ name: workloadOf(name), uid: body.workloadUid })),
      ...headRecords.map(({ name, body }) => ({ name: name.slice(0, -"/head".length), uid: body.workloadUid })),
    ];
    return [...new Map(found.map((workload) => [workload.uid, workload])).values()];
  }

  /** Puts the head where it should be; does nothing when it is there already. Replaces an older incarnation's. */
  async moveHead(
    { name, uid }: Workload,
    to: { readonly parent: string; readonly generationId?: string },
    events: readonly RecordEvent[] = [],
  ): Promise<void> {
    const { heads } = this.#deps;
    const stored = await heads.get(headName(name));
    const own = stored?.body.workloadUid === uid ? stored : undefined;
    const generationId = to.generationId ?? own?.body.generationId ?? "";
    if (own?.body.parent === to.parent && own.body.generationId === generationId) return;
    const body: Head = { name: headName(name), workloadUid: uid, parent: to.parent, generationId };
    if (own !== undefined) {
      await heads.update(own, { body, events });
      return;
    }
    if (stored !== undefined) await heads.remove(stored);
    await heads.create(headName(name), { uid, body, events });
  }

  /** Removes every record of a workload that is gone, with an event for each checkpoint. */
  async forget(workload: Workload): Promise<void> {
    const { checkpoints, head } = await this.tree(workload);
    for (const { name } of checkpoints) {
      await removeSurely(this.#deps.checkpoints, name, workload.uid, (stored) => [
        deletedEvent(stored, workload.name, "its workload was deleted"),
      ]);
    }
    if (head !== undefined) await removeSurely(this.#deps.heads, head.name, workload.uid, () => []);
  }
}

/** The event that tells of a removed checkpoint. */
export function deletedEvent({ name, body }: StoredRecord<Checkpoint>, workload: string, why: string): RecordEvent {
  const { displayName, sizeBytes } = body;
  return { aggregate: "checkpoint", happened: "deleted", data: { name, workload, displayName, sizeBytes, why } };
}

/** Removes the record of that incarnation, whatever else is written to it meanwhile. */
async function removeSurely<Body extends { workloadUid: string }>(
  records: RecordStore<Body>,
  name: string,
  workloadUid: string,
  events: (stored: StoredRecord<Body>) => RecordEvent[],
): Promise<void> {
  for (;;) {
    const stored = await records.get(name);
    if (stored?.body.workloadUid !== workloadUid) return;
    try {
      await records.remove(stored, events(stored));
      return;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
  }
}
