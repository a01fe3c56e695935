import type { Logger } from "#libs/logger";

/**
 * One piece of a long piece of work: gives true when there is no more to do. Once its signal is aborted it stops at
 * its next safe point and throws, or ends; it is called again when the workload is free.
 */
export type Piece = (signal: AbortSignal) => Promise<boolean>;

export interface BackgroundDeps {
  readonly logger: Logger;
}

interface Job {
  readonly uid: string;
  readonly what: string;
  readonly begin: () => Promise<Piece> | Piece;
  piece: Piece | undefined;
  /** It was queued again while it ran: what it has seen may be old. */
  again: boolean;
}

interface Turn {
  readonly uid: string;
  readonly interrupt: AbortController;
  readonly over: Promise<void>;
}

/** Work at low priority: one piece after the other, and none for a workload that a step is acting on. */
export class BackgroundWork {
  readonly #deps: BackgroundDeps;
  readonly #stopped = new AbortController();
  readonly #held = new Map<string, number>();
  #queue: Job[] = [];
  #turn: Turn | undefined;
  #working: Promise<void> | undefined;
  #freed = Promise.withResolvers<void>();

  constructor(deps: BackgroundDeps) {
    this.#deps = deps;
  }

  /**
   * Queues work on a workload; `begin` is called when its turn comes. The same work is queued once. Errors are
   * logged: the work is not vital, or is queued again by who watches over it.
   */
  add(uid: string, what: string, begin: Job["begin"]): void {
    const same = this.#queue.find((job) => job.uid === uid && job.what === what);
    if (same !== undefined) {
      same.again = true;
      return;
    }
    this.#queue.push({ uid, what, begin, piece: undefined, again: false });
    this.#freed.resolve();
    this.#working ??= this.#work();
  }

  /** Lets a workload alone until what is given is disposed of: resolves when the piece that is under way has ended. */
  async hold(uid: string): Promise<Disposable> {
    this.#held.set(uid, (this.#held.get(uid) ?? 0) + 1);
    let isHeld = true;
    const release = () => {
      if (isHeld) this.#release(uid);
      isHeld = false;
    };
    if (this.#turn?.uid === uid) {
      this.#turn.interrupt.abort(new DOMException("a step comes first", "AbortError"));
      await this.#turn.over;
    }
    return { [Symbol.dispose]: release };
  }

  /** Drops the work on a workload that is held, because it is about to be deleted. */
  forget(uid: string): void {
    this.#queue = this.#queue.filter((job) => job.uid !== uid);
  }

  async close(): Promise<void> {
    const reason = new DOMException("the agent is stopping", "AbortError");
    this.#stopped.abort(reason);
    this.#turn?.interrupt.abort(reason);
    this.#freed.resolve();
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0 && !this.#stopped.signal.aborted) {
      const job = this.#queue.find(({ uid }) => !this.#held.has(uid));
      if (job === undefined) {
        this.#freed = Promise.withResolvers();
        await this.#freed.promise;
      } else if (await this.#takeTurn(job)) {
        this.#queue = this.#queue.filter((other) => other !== job);
      }
    }
    // At once: what is queued from here on begins anew.
    this.#working = undefined;
  }

  /** Gives true when the job is over. */
  async #takeTurn(job: Job): Promise<boolean> {
    const interrupt = new AbortController();
    const over = Promise.withResolvers<void>();
    this.#turn = { uid: job.uid, interrupt, over: over.promise };
    try {
      job.piece ??= await job.begin();
      if (!(await job.piece(interrupt.signal))) return false;
      if (!job.again) return true;
      job.again = false;
      job.piece = undefined;
      return false;
    } catch (error) {
      if (interrupt.signal.aborted) return false;
      this.#deps.logger.warn({ err: error, uid: job.uid }, `${job.what} was given up`);
      return true;
    } finally {
      this.#turn = undefined;
      over.resolve();
    }
  }

  #release(uid: string): void {
    const left = (this.#held.get(uid) ?? 1) - 1;
    if (left > 0) this.#held.set(uid, left);
    else this.#held.delete(uid);
    this.#freed.resolve();
  }
}
