import type { Clock, Random } from "#libs/clock";
import type { JobState } from "./job-state.ts";
import type { StoredOperation } from "./operation-record.ts";

export interface SweeperDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly jobState: JobState;
  readonly ttlMs: number;
  /** Unfinished operations that this worker could run and does not. */
  candidates(): StoredOperation[];
  /** False when there is no room for it now. */
  takeOver(stored: StoredOperation, silentMs: number): boolean;
}

interface Sighting {
  /** Changes with every sign of life. */
  readonly signs: string;
  readonly sinceMs: number;
}

/**
 * Finds operations that nobody moves on: whose state in the log and whose heartbeat this process has seen unchanged
 * for one ttl of its own monotonic clock. What clocks elsewhere say does not matter.
 */
export class Sweeper {
  readonly #deps: SweeperDeps;
  #seen = new Map<string, Sighting>();

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, ttlMs } = this.#deps;
    while (!signal.aborted) {
      await this.#look();
      await clock.sleep((ttlMs / 4) * (0.75 + random.next() / 2), signal).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { clock, ttlMs } = this.#deps;
    const candidates = this.#deps.candidates();
    const beats = await this.#heartbeats(candidates);
    const now = clock.monotonicMs();
    const seen = new Map<string, Sighting>();
    for (const [index, stored] of candidates.entries()) {
      const { id } = stored.record;
      const signs = `${stored.version}/${beats[index] ?? "-"}`;
      const before = this.#seen.get(id);
      const sighting = before?.signs === signs ? before : { signs, sinceMs: now };
      const silentMs = now - sighting.sinceMs;
      if (silentMs < ttlMs || !this.#deps.takeOver(stored, silentMs)) seen.set(id, sighting);
    }
    this.#seen = seen;
  }

  /** Without Redis there are no heartbeats to see; workers that miss it too touch the log instead. */
  async #heartbeats(candidates: readonly StoredOperation[]): Promise<(string | undefined)[]> {
    if (candidates.length === 0) return [];
    try {
      const states = await this.#deps.jobState.read(candidates.map(({ record }) => record.id));
      return states.map((state) => state && `${state.worker}:${state.heartbeat}`);
    } catch {
      return [];
    }
  }
}
