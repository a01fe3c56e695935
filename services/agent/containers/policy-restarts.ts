import { ContainerState } from "#contracts/container/v1/container";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { Container } from "./container.ts";

export interface PolicyRestartsDeps {
  /** Starts it as its policy says; at an abort it waits for nothing any more. */
  readonly start: (container: Container, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const FIRST_MS = 100;
const LONGEST_MS = 60_000;
/** One that has run for so long begins anew to count. */
const LASTED_MS = 10_000;
const HINDERED_MS = 500;

/**
 * Starts again, by their restart policy, the containers that must not run without the host's lease: the engine would
 * start them after a reboot, whoever runs them by then. Waits as Docker does: 100 ms, twice as long each time, a minute.
 */
export class PolicyRestarts {
  readonly #deps: PolicyRestartsDeps;
  readonly #tries = new Map<string, number>();
  readonly #waiting = new Map<string, Promise<void>>();
  readonly #closed = new AbortController();

  constructor(deps: PolicyRestartsDeps) {
    this.#deps = deps;
  }

  /** To be called when it may have ended. */
  consider(container: Container): void {
    const { uid } = container;
    if (!isToStart(container) || this.#waiting.has(uid) || this.#closed.signal.aborted) return;
    const work = this.#seeTo(container).finally(() => this.#waiting.delete(uid));
    this.#waiting.set(uid, work);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.#waiting.values());
  }

  async #seeTo(container: Container): Promise<void> {
    const { clock, logger, start } = this.#deps;
    const { signal } = this.#closed;
    if (hasLasted(container)) this.#tries.delete(container.uid);
    while (!signal.aborted && isToStart(container)) {
      await clock.sleep(this.#pauseMs(container), signal).catch(() => undefined);
      if (signal.aborted || !isToStart(container) || isHindered(container)) continue;
      this.#tries.set(container.uid, (this.#tries.get(container.uid) ?? 0) + 1);
      try {
        return await start(container, signal);
      } catch (error) {
        logger.info({ err: error, uid: container.uid }, "its restart policy cannot start it now");
      }
    }
  }

  #pauseMs(container: Container): number {
    const waitMs = Math.min(FIRST_MS * 2 ** Math.min(this.#tries.get(container.uid) ?? 0, 10), LONGEST_MS);
    return isHindered(container) ? Math.max(waitMs, HINDERED_MS) : waitMs;
  }
}

function isToStart({ isGuarded, status, manifest, isLeaving }: Container): boolean {
  const isWanted = isGuarded && status.state === ContainerState.RESTARTING;
  return isWanted && !manifest.isStopped && manifest.leftBehind === undefined && !isLeaving;
}

const isHindered = ({ isActedOn, leaseHold }: Container): boolean => isActedOn || leaseHold !== undefined;

function hasLasted({ status: { startTime, lastExit } }: Container): boolean {
  return (lastExit?.time?.getTime() ?? 0) - (startTime?.getTime() ?? 0) >= LASTED_MS;
}
