import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Log } from "#libs/records";
import { ALL_OPERATIONS, decodeOperation, isTerminal, type StoredOperation } from "./operation-record.ts";

type Listener = (stored: StoredOperation) => void;

/** How many of the finished operations are known, and how many of these as a whole: a first page of them. */
const KNOWN_FINISHED = 2_000;
const WHOLE_FINISHED = 100;
const RESTART_MS = 200;

/** An operation in a list; its state is in the log when it is not here. */
export interface KnownOperation {
  readonly id: string;
  readonly target: string;
  readonly createTime: string;
  readonly stored: StoredOperation | undefined;
}

/**
 * What happens to operations, pushed: one follower of the log for the whole process, shared by watchers, workers and
 * the sweeper. Keeps every operation that is not finished, the newest of those that are, and the names of some more.
 */
export class OperationFeed {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #unfinished = new Map<string, StoredOperation>();
  readonly #finished = new Map<string, KnownOperation>();
  /** Ids of the finished ones that are kept as a whole, oldest first. */
  readonly #whole: string[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();
  #position = 0;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Resolves when everything that was there has been read; goes on until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    const isEmpty = (await this.#log.read(ALL_OPERATIONS)) === undefined;
    await new Promise<void>((resolve) => {
      void this.#run(signal, resolve);
      if (isEmpty || signal.aborted) resolve();
    });
  }

  get(id: string): StoredOperation | undefined {
    return this.#unfinished.get(id) ?? this.#finished.get(id)?.stored;
  }

  unfinished(): StoredOperation[] {
    return [...this.#unfinished.values()];
  }

  /** Newest first by the time of their making. */
  list({ unfinishedOnly = false } = {}): KnownOperation[] {
    const unfinished = this.unfinished().map(known);
    const all = unfinishedOnly ? unfinished : [...unfinished, ...this.#finished.values()];
    return all.sort((a, b) => (a.createTime > b.createTime ? -1 : 1));
  }

  /** Calls back for every change from now on; gives the way to stop it. */
  subscribe(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  async #run(signal: AbortSignal, caughtUp: () => void): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#follow(signal, caughtUp);
      } catch (error) {
        if (isStillpointError(error, "RESYNC")) this.#forget();
        await this.#clock.sleep(RESTART_MS, signal).catch(() => undefined);
      }
    }
    caughtUp();
  }

  async #follow(signal: AbortSignal, caughtUp: () => void): Promise<void> {
    for await (const message of this.#log.follow(ALL_OPERATIONS, { afterSequence: this.#position, signal })) {
      this.#position = message.sequence;
      this.#take(decodeOperation(message));
      if (message.pending === 0) caughtUp();
    }
  }

  #take(stored: StoredOperation): void {
    const { id } = stored.record;
    if (isTerminal(stored.record)) {
      this.#unfinished.delete(id);
      this.#keepFinished(stored);
    } else {
      this.#unfinished.set(id, stored);
    }
    for (const listener of this.#listeners.get(id) ?? []) listener(stored);
  }

  #keepFinished(stored: StoredOperation): void {
    const { id } = stored.record;
    this.#finished.set(id, known(stored));
    this.#whole.push(id);
    const old = this.#whole.length > WHOLE_FINISHED ? this.#finished.get(this.#whole.shift() ?? "") : undefined;
    if (old !== undefined) this.#finished.set(old.id, { ...old, stored: undefined });
    if (this.#finished.size > KNOWN_FINISHED) this.#finished.delete(this.#finished.keys().next().value ?? "");
  }

  /** The stream was made again: nothing that we know is true any more. */
  #forget(): void {
    this.#unfinished.clear();
    this.#finished.clear();
    this.#whole.length = 0;
    this.#position = 0;
  }
}

function known(stored: StoredOperation): KnownOperation {
  const { id, target, createTime } = stored.record;
  return { id, target, createTime, stored };
}
