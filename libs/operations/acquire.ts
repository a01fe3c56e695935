import type { Clock, Random } from "#libs/clock";
import { isStillpointError, type Reason, StillpointError } from "#libs/errors";
import {
  type BodyCodec,
  decodeRecord,
  type Json,
  type Log,
  LogRecordStore,
  rawCodec,
  type StoredRecord,
  subjectOfName,
} from "#libs/records";
import type { CreateTarget, HoldTarget, TargetWrite } from "./accept-request.ts";
import type { OperationLog } from "./operation-log.ts";
import { isTerminal, type OperationRecord, throwRefusal } from "./operation-record.ts";
import { superseded, touched } from "./operation-state.ts";

export interface AcquireDeps {
  readonly records: Log;
  readonly operations: OperationLog;
  readonly clock: Clock;
  readonly random: Random;
}

/** Less than the shortest ttl: until then nobody has given the operation up for silent. */
const SURE_FOR_MS = 400;

/** An operation, and a record that it is to hold: its target, or a further one. */
type Holder = Pick<OperationRecord, "id" | "target">;

/** Makes an operation the holder of its target. */
export class TargetAcquirer {
  readonly #deps: AcquireDeps;

  constructor(deps: AcquireDeps) {
    this.#deps = deps;
  }

  /**
   * Fails with the reason why it may not hold it, as with OPERATION_ABANDONED; safe to repeat. False when others have
   * taken the operation to its end meanwhile, so that it holds nothing any more.
   * @param madeAtMs a monotonic time before the operation was made; undefined when somebody else made it
   */
  async acquire<Body>(operation: Holder, write: TargetWrite<Body>, madeAtMs?: number): Promise<boolean> {
    if ("hold" in write) return true;
    // Without a codec the service's bodies are plain JSON.
    const codec = write.codec ?? (rawCodec as unknown as BodyCodec<Body>);
    const store = new LogRecordStore<Body>({ ...this.#deps, log: this.#deps.records, codec });
    const until = madeAtMs === undefined ? Number.NEGATIVE_INFINITY : madeAtMs + SURE_FOR_MS;
    if ("create" in write) return await this.#create(store, operation, write, until);
    return await this.#hold(store, operation, write, until);
  }

  /** True when the operation holds its target. */
  async holds(operation: Holder): Promise<boolean> {
    const message = await this.#deps.records.read(subjectOfName(operation.target));
    if (message === undefined) return false;
    const { operation: holder, deleted } = decodeRecord(message.data);
    return deleted !== true && holder === operation.id;
  }

  /**
   * Writes the target as it is, so that whoever read it before now cannot write over it: an accept that sleeps
   * between reading and writing finds out that its operation was given up.
   */
  async bump(target: string): Promise<void> {
    const store = new LogRecordStore<Json>({ ...this.#deps, log: this.#deps.records, codec: rawCodec });
    await store.modify(target, () => ({}));
  }

  async #create<Body>(
    store: LogRecordStore<Body>,
    operation: Holder,
    { create, existsReason = "RECORD_CONFLICT" }: CreateTarget<Body>,
    untilMs: number,
  ): Promise<boolean> {
    const { id, target } = operation;
    let previous: number | undefined = 0;
    while (previous !== undefined) {
      if (!(await this.#isOpen(id, untilMs))) return false;
      const record = { ...create, operation: id, messageId: `${id}.target` };
      const isWritten = await unlessConflict(store.createOver(target, record, previous));
      previous = isWritten ? undefined : await this.#versionToWriteOver(target, create.uid, existsReason);
    }
    return true;
  }

  /** The version of a tombstone; undefined when the record is there, or was, as this operation made it. */
  async #versionToWriteOver(target: string, uid: string, existsReason: Reason): Promise<number | undefined> {
    const newest = await this.#deps.records.read(subjectOfName(target));
    if (newest === undefined) return 0;
    const found = decodeRecord(newest.data);
    if (found.uid === uid) return undefined;
    if (found.deleted === true) return newest.sequence;
    throw new StillpointError(existsReason, `${target} exists already`, { metadata: { name: target } });
  }

  async #hold<Body>(
    store: LogRecordStore<Body>,
    operation: Holder,
    write: HoldTarget<Body>,
    untilMs: number,
  ): Promise<boolean> {
    const { id, target } = operation;
    for (let isHeld = false; !isHeld; ) {
      const stored = await store.get(target);
      if (stored === undefined || (write.uid !== undefined && stored.uid !== write.uid)) {
        throw new StillpointError(write.missingReason ?? "WORKLOAD_NOT_FOUND", `${target} does not exist`);
      }
      if (stored.operation === id) return true;
      await this.#refuseIfBusy(stored, operation, write);
      write.expect?.(stored);
      if (!(await this.#isOpen(id, untilMs))) return false;
      const change = { ...write.change?.(stored), operation: id, messageId: `${id}.target.${stored.version}` };
      isHeld = await unlessConflict(store.update(stored, change));
    }
    return true;
  }

  /** A pointer to an operation that has ended, or that the log no longer keeps, counts as free. */
  async #refuseIfBusy<Body>(
    stored: StoredRecord<Body>,
    by: Holder,
    { supersedes, expect }: HoldTarget<Body>,
  ): Promise<void> {
    const { name, operation: holder } = stored;
    if (holder === undefined) return;
    const other = await this.#deps.operations.find(holder);
    if (other === undefined || isTerminal(other.record)) return;
    if (supersedes?.(other.record, stored) === true) {
      expect?.(stored); // nothing is ended for one that is then refused
      return await this.#supersede(other.record, by);
    }
    throw new StillpointError("TARGET_BUSY", `${name} is busy with ${other.record.kind}: operations/${holder}`, {
      metadata: { operation: `operations/${holder}` },
    });
  }

  async #supersede({ id, kind, target }: OperationRecord, by: Holder): Promise<void> {
    const { operations, random } = this.#deps;
    const error = new StillpointError("OPERATION_SUPERSEDED", `${kind} on ${target} was ended by operations/${by.id}`);
    const change = { wanted: isUnfinished, transition: superseded(error), write: random.id("supersede") };
    await operations.modify(id, change, { forMs: 10_000 });
  }

  /**
   * Before a target is written late: touches the operation, which keeps others from giving it up, or finds that they
   * have, or that it has ended. A sleep after this is caught by the compare-and-set on the target: giving up begins
   * with a write to it.
   */
  async #isOpen(id: string, untilMs: number): Promise<boolean> {
    const { clock, operations, random } = this.#deps;
    if (clock.monotonicMs() < untilMs) return true;
    const wanted = ({ state }: OperationRecord) => state === "pending";
    const change = { wanted, transition: touched, write: random.id("late") };
    const record = (await operations.modify(id, change, { forMs: 10_000 }))?.record;
    if (record === undefined) {
      throw new StillpointError("OPERATION_ABANDONED", `operation ${id} was given up: accepting it took too long`);
    }
    throwRefusal(record);
    return !isTerminal(record);
  }
}

const isUnfinished = (record: OperationRecord): boolean => !isTerminal(record);

/** False when someone else has written in between. */
async function unlessConflict(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (isStillpointError(error, "RECORD_CONFLICT")) return false;
    throw error;
  }
}
