import type { Checkpoint, Head } from "#contracts/checkpoint/v1/checkpoint";
import { headName } from "#libs/names";
import {
  decodeRecord,
  type Log,
  nameOfSubject,
  type RecordEvent,
  type RecordStore,
  type StoredRecord,
  subjectOfName,
} from "#libs/records";
import type { Tree } from "./domain/tree.ts";

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
      this.#list(`${subjectOfName(name)}.checkpoints.*`),
      this.#deps.heads.get(headName(name)),
    ]);
    const checkpoints = all.filter(({ body }) => body.workloadUid === uid);
    return { checkpoints, head: head?.body.workloadUid === uid ? head : undefined };
  }

  /** Every workload that has a checkpoint or a head, in any project. */
  async workloads(): Promise<Workload[]> {
    const checkpoints = await this.#list("rec.projects.*.vms.*.checkpoints.*");
    const found = checkpoints.map(({ name, body }) => ({
      name: name.slice(0, name.lastIndexOf("/checkpoints/")),
      uid: body.workloadUid,
    }));
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

  /** Removes the head of that incarnation. */
  async removeHead({ name, uid }: Workload): Promise<void> {
    const stored = await this.#deps.heads.get(headName(name));
    if (stored?.body.workloadUid === uid) await this.#deps.heads.remove(stored);
  }

  async #list(filter: string): Promise<StoredRecord<Checkpoint>[]> {
    const messages = await this.#deps.log.newest(filter);
    const live = messages.filter(({ data }) => decodeRecord(data).deleted !== true);
    const names = live.map(({ subject }) => nameOfSubject(subject));
    const found = await Promise.all(names.map((name) => this.#deps.checkpoints.get(name)));
    return found.filter((record) => record !== undefined).toSorted((a, b) => (a.uid < b.uid ? -1 : 1));
  }
}
