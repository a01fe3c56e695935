import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";

/** Pulls of one manifest by one principal within some seconds. */
export interface PullCount {
  readonly repository: string;
  readonly digest: string;
  /** Empty when it was asked for by its digest. */
  readonly tag: string;
  readonly actor: string;
  readonly count: number;
  readonly lastTime: Date;
}

/** Where counts of pulls go. It may lose some. */
export type PullSink = (pulls: readonly PullCount[]) => Promise<void>;

export interface PullsDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sinks: readonly PullSink[];
}

const FLUSH_EVERY_MS = 5_000;
/** Beyond these, what comes first is told at once. */
const HELD = 10_000;

/** Counts the GETs of manifests and tells of them from time to time: a pull waits for nobody. */
export class Pulls {
  readonly #deps: PullsDeps;
  #counts = new Map<string, PullCount>();

  constructor(deps: PullsDeps) {
    this.#deps = deps;
  }

  count(pull: Omit<PullCount, "count" | "lastTime">): void {
    const key = `${pull.repository} ${pull.digest} ${pull.tag} ${pull.actor}`;
    const count = (this.#counts.get(key)?.count ?? 0) + 1;
    this.#counts.set(key, { ...pull, count, lastTime: this.#deps.clock.now() });
    if (this.#counts.size >= HELD) this.flush().catch(() => {});
  }

  /** Tells what was counted until the signal aborts, and then once more. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(FLUSH_EVERY_MS, signal).catch(() => {});
      await this.flush();
    }
  }

  async flush(): Promise<void> {
    const pulls = [...this.#counts.values()];
    this.#counts = new Map();
    if (pulls.length === 0) return;
    for (const sink of this.#deps.sinks) {
      await sink(pulls).catch((err: unknown) => this.#deps.logger.warn({ err }, "pulls could not be told"));
    }
  }
}
