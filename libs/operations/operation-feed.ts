import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Log } from "#libs/records";
import { ALL_OPERATIONS, decodeOperation, isTerminal, type StoredOperation } from "./operation-record.ts";

type Listener = (stored: StoredOperation) => void;

const KEPT_TERMINAL = 2_000;
const RESTART_MS = 200;

/**
 * What happens to operations, pushed: one follower of the log for the whole process, shared by watchers, workers and
 * the sweeper. Keeps every operation that is not finished, and the newest of those that are.
 */
export class OperationFeed {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #unfinished = new Map<string, StoredOperation>();
  readonly #finished = new Map<string, StoredOperation>();
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
    return this.#unfinished.get(id) ?? this.#finished.get(id);
  }

  unfinished(): StoredOperation[] {
    return [...this.#unfinished.values()];
  }

  /** Newest first by the time of their making. */
  list(): StoredOperation[] {
    const all = [...this.#unfinished.values(), ...this.#finished.values()];
    return all.sort((a, b) => (a.record.createTime > b.record.createTime ? -1 : 1));
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
      this.#finished.set(id, stored);
      if (this.#finished.size > KEPT_TERMINAL) this.#finished.delete(this.#finished.keys().next().value ?? "");
    } else {
      this.#unfinished.set(id, stored);
    }
    for (const listener of this.#listeners.get(id) ?? []) listener(stored);
  }

  /** The stream was made again: nothing that we know is true any more. */
  #forget(): void {
    this.#unfinished.clear();
    this.#finished.clear();
    this.#position = 0;
  }
}
