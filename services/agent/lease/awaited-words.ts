import type { Clock } from "#libs/clock";

/** Longer than two heartbeats, so that one of them may be lost. */
const PATIENCE_MS = 5_000;

export interface AwaitedWordsDeps {
  readonly clock: Pick<Clock, "sleep">;
  /** Another one waits: the next heartbeat, which names it, is not to. */
  readonly ask: () => void;
}

/** The starts that wait for a word of the host's owner. */
export class AwaitedWords {
  readonly #deps: AwaitedWordsDeps;
  readonly #waiting = new Map<string, Set<AbortController>>();

  constructor(deps: AwaitedWordsDeps) {
    this.#deps = deps;
  }

  /** Uids, for a heartbeat. */
  list(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Resolves when a word on it has come, and after 5 s without one; at once when the signal is aborted. */
  async wait(uid: string, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const waiting = this.#waiting.get(uid) ?? new Set();
    this.#waiting.set(uid, waiting.add(over));
    this.#deps.ask();
    await this.#deps.clock.sleep(PATIENCE_MS, AbortSignal.any([over.signal, signal])).catch(() => undefined);
    waiting.delete(over);
    if (waiting.size === 0 && this.#waiting.get(uid) === waiting) this.#waiting.delete(uid);
  }

  /** A word on them has come. */
  given(uids: Iterable<string>): void {
    for (const uid of uids) for (const over of this.#waiting.get(uid) ?? []) over.abort();
  }
}
