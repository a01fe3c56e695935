import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";

/** One piece of a long piece of work: gives true when there is no more to do. */
export type Piece = () => Promise<boolean>;

export interface BackgroundDeps {
  /** Whether a step of that workload runs now: background work waits for it. */
  isBusy(uid: string): Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const YIELD_MS = 100;

/** Work at low priority: one piece after the other, and none for a workload that a step is acting on. */
export class BackgroundWork {
  readonly #deps: BackgroundDeps;
  readonly #stopped = new AbortController();
  readonly #forgotten = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  constructor(deps: BackgroundDeps) {
    this.#deps = deps;
  }

  /** Queues work on a workload; `begin` is called when its turn comes. Errors are logged: the work is not vital. */
  add(uid: string, what: string, begin: () => Promise<Piece> | Piece): void {
    this.#forgotten.delete(uid);
    this.#last = this.#last.then(() => this.#run(uid, what, begin));
  }

  /** Drops the work on a workload that is about to be deleted. */
  async forget(uid: string): Promise<void> {
    this.#forgotten.add(uid);
  }

  async close(): Promise<void> {
    this.#stopped.abort(new DOMException("the agent is stopping", "AbortError"));
    await this.#last;
  }

  async #run(uid: string, what: string, begin: () => Promise<Piece> | Piece): Promise<void> {
    const { signal } = this.#stopped;
    try {
      if (signal.aborted || this.#forgotten.has(uid)) return;
      const piece = await begin();
      for (let done = false; !done && !this.#forgotten.has(uid); ) {
        while (await this.#deps.isBusy(uid)) await this.#deps.clock.sleep(YIELD_MS, signal);
        signal.throwIfAborted();
        done = await piece();
      }
    } catch (error) {
      if (!signal.aborted) this.#deps.logger.warn({ err: error, uid }, `${what} was given up`);
    }
  }
}
