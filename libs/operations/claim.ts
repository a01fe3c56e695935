import { isStillpointError } from "#libs/errors";
import type { Job } from "./job.ts";
import type { OperationLog } from "./operation-log.ts";
import { epochOf, isTerminal, type OperationRecord, type StoredOperation } from "./operation-record.ts";
import { begun, claimed, givenUp, type Transition, touched } from "./operation-state.ts";

/** Somebody else has the operation by now, or this worker stops: nothing more may be written. */
export class ClaimLost extends Error {
  override readonly name = "ClaimLost";
}

/** This worker's right to move one operation; every write proves that it still has it. */
export class Claim {
  readonly id: string;
  readonly #log: OperationLog;
  readonly #worker: string;
  readonly #lost = new AbortController();
  readonly #onCancel = new Set<() => void>();
  #stored: StoredOperation;
  #writes = 0;
  #isWriting = false;
  /** The newest that others told of while a write was under way: it may be that write. */
  #heardMeanwhile: StoredOperation | undefined;
  /** Writes of one claim go one after the other. */
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(log: OperationLog, worker: string, stored: StoredOperation) {
    this.#log = log;
    this.#worker = worker;
    this.#stored = stored;
    this.id = stored.record.id;
  }

  /**
   * Claims an operation in the state that is known; fails with RECORD_CONFLICT when it has moved on. `turn` tells this
   * attempt from all others of the worker: the log takes a write that it has had for that very write, and a worker that
   * knows less than it has done itself would go through an operation twice.
   */
  static async make(
    log: OperationLog,
    options: { stored: StoredOperation; job: Job; worker: string; turn: number; signal: AbortSignal },
  ) {
    const { stored, job, worker, turn, signal } = options;
    const write = `${stored.record.id}.claim.${worker}.${turn}`;
    const made = await log.move(stored, claimed(job, worker), write, { forMs: 10_000, signal });
    return new Claim(log, worker, made);
  }

  /** Of an operation that was claimed as it was accepted. */
  static of(log: OperationLog, worker: string, stored: StoredOperation): Claim {
    return new Claim(log, worker, stored);
  }

  /** Sequence of the message by which it was claimed, or by which the claim was renewed for a further target. */
  get epoch(): number {
    return epochOf(this.#stored);
  }

  /** The operation as this worker wrote it last, with a cancel that came in between. */
  get record(): OperationRecord {
    return this.#stored.record;
  }

  /** Aborted when the claim is lost or this worker stops. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Writes the next state, waiting as long as it takes for a log that does not answer. Fails with ClaimLost. */
  async commit(transition: Transition): Promise<void> {
    await this.#inTurn(() => this.#commit(transition));
  }

  /** Shows others through the log that this worker lives. */
  async touch(): Promise<void> {
    const touch = async () => {
      const before = this.record;
      await this.#commit(touched);
      if (hasMoved(before, this.record)) this.#abandonLost();
    };
    await this.#inTurn(touch).catch(() => undefined);
  }

  /** Calls back once when a cancel is asked for from now on; gives the way to stop it. */
  onCancel(listener: () => void): () => void {
    this.#onCancel.add(listener);
    return () => {
      this.#onCancel.delete(listener);
    };
  }

  /** Takes notice of what others wrote: a cancel is kept, another claim ends this one. */
  notice(seen: StoredOperation): void {
    if (seen.version <= this.#stored.version) return;
    if (!this.#isOurs(seen)) this.abandon("another worker has it");
    else if (this.#isWriting) this.#heardMeanwhile = seen;
    else if (hasMoved(this.record, seen.record)) this.#abandonLost();
    else this.#take(seen);
  }

  /**
   * A leader that has just been elected may take a write over a state that was written over already, and so lose what was
   * written since (nats-server before 2.11, as far as its authors say). What a step that is under way has done may then
   * not be told of the step that the log is at: it is gone through again from there, by whoever claims it anew.
   */
  #abandonLost(): void {
    this.abandon("the log has lost what was written of it");
  }

  /** Looks into the log whether the claim is still good. */
  async check(): Promise<void> {
    const stored = await this.#log.read(this.id).catch(() => undefined);
    if (stored !== undefined) this.notice(stored);
  }

  /** Ends this worker's part at once; what it had intended stays intended. */
  abandon(why: string): void {
    this.#lost.abort(new ClaimLost(`operation ${this.id}: ${why}`));
  }

  /** Gives the operation back after `abandon`, so that another worker need not wait for the claim to run out. */
  async giveBack(patienceMs: number): Promise<void> {
    await this.#queue;
    if (isTerminal(this.record)) return;
    const write = `${this.id}.${this.epoch}.back.${this.#stored.version}`;
    await this.#log.move(this.#stored, givenUp, write, { forMs: patienceMs });
  }

  async #inTurn(write: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(write);
    this.#queue = done.catch(() => undefined);
    await done;
  }

  async #commit(transition: Transition): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#writeSurely(transition);
    } finally {
      this.#isWriting = false;
      const heard = this.#heardMeanwhile;
      this.#heardMeanwhile = undefined;
      if (heard !== undefined) this.notice(heard);
    }
  }

  async #writeSurely(transition: Transition): Promise<void> {
    const before = this.record;
    while (!(await this.#write(transition))) {
      await this.#readAgain();
      // Nobody else moves it on while the claim is good: it was this write, and its answer got lost.
      if (hasMoved(before, this.record)) return;
    }
  }

  /** False when the log has another state than the one that is known. */
  async #write(transition: Transition): Promise<boolean> {
    this.signal.throwIfAborted();
    if (isTerminal(this.record)) throw new ClaimLost(`operation ${this.id} has ended`);
    const write = `${this.id}.${this.epoch}.${++this.#writes}`;
    const patience = { forMs: Number.POSITIVE_INFINITY, signal: this.signal };
    try {
      const next: Transition = (record) => transition(begun(record));
      this.#stored = await this.#log.move(this.#stored, next, write, patience);
      return true;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      return false;
    }
  }

  /** After a conflict: a cancel or a rewrite left the claim as it was. What is read may be older than what is known. */
  async #readAgain(): Promise<void> {
    const stored = await this.#log.readNewer(this.#stored, this.signal);
    if (stored === undefined || !this.#isOurs(stored)) {
      this.abandon("another worker has it");
      this.signal.throwIfAborted();
    } else {
      this.#take(stored);
    }
  }

  #take(stored: StoredOperation): void {
    const isNews = stored.record.cancelRequested === true && this.record.cancelRequested !== true;
    this.#stored = stored;
    if (isNews) for (const listener of this.#onCancel) listener();
  }

  /** Names of workers are never used again, and a worker has an operation in hand once at a time. */
  #isOurs(stored: StoredOperation): boolean {
    return stored.record.claim?.worker === this.#worker;
  }
}

const hasMoved = (before: OperationRecord, now: OperationRecord): boolean =>
  before.phase !== now.phase || before.step !== now.step || before.attempt !== now.attempt;
