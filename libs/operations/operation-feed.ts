import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Log, LogMessage } from "#libs/records";
import {
  ALL_OPERATIONS,
  decodeOperation,
  isTerminal,
  peekOperation,
  type StoredOperation,
} from "./operation-record.ts";

type Listener = (stored: StoredOperation) => void;

/** How many of the finished operations are known, and how many of these as a whole: a first page of them. */
const KNOWN_FINISHED = 2_000;
const WHOLE_FINISHED = 100;
const RESTART_MS = 200;
/** How late a feed of some services may be while nobody watches. */
const LAG_MS = 200;

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
 *
 * A feed of some services only keeps theirs, which is what a worker needs, and hears of all others for those who watch
 * them. It is late while nobody does: by then most operations have ended, and their states in between never come.
 */
export class OperationFeed {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #services: readonly string[] | undefined;
  readonly #unfinished = new Map<string, StoredOperation>();
  readonly #finished = new Map<string, KnownOperation>();
  /** Ids of the finished ones that are kept as a whole, oldest first. */
  readonly #whole: string[] = [];
  readonly #listeners = new Map<string, Set<Listener>>();
  #watchers = 0;
  #position = 0;

  /** Of the services whose kinds of operations begin so; of all when left out. */
  constructor(log: Log, clock: Clock, services?: readonly string[]) {
    this.#log = log;
    this.#clock = clock;
    this.#services = services;
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

  /** As `subscribe`, and soon: without the lag that others can live with. */
  watch(id: string, listener: Listener): () => void {
    const unsubscribe = this.subscribe(id, listener);
    this.#watchers++;
    return () => {
      this.#watchers--;
      unsubscribe();
    };
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
    const lag = this.#services === undefined ? {} : { lagMs: () => (this.#watchers > 0 ? 0 : LAG_MS) };
    const options = { afterSequence: this.#position, signal, ...lag };
    for await (const message of this.#log.follow(ALL_OPERATIONS, options)) {
      this.#position = message.sequence;
      if (this.#isOfInterest(message)) this.#take(decodeOperation(message));
      if (message.pending === 0) caughtUp();
    }
  }

  #isOfInterest(message: LogMessage): boolean {
    if (this.#services === undefined) return true;
    const { id, service } = peekOperation(message);
    return this.#services.includes(service) || this.#listeners.has(id);
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
