import type { Clock } from "#libs/clock";
import type { Freeze, FrozenWindow, Refusal } from "./freeze.ts";

/**
 * A guest that was frozen by one step and is thawed by another, so that several can stand still at one instant. It
 * thaws by itself when the window ends; an agent that dies leaves that to the guard, and what was made ready to the
 * agent that adopts the VM.
 */
export class HeldTake {
  readonly checkpointUid: string;
  /** When its disks were taken; absent before, and when that failed. */
  takenAt: Date | undefined;
  /** Why they could not be taken. */
  refusal: Refusal | undefined;
  readonly #freeze: Freeze;
  readonly #thawed = new AbortController();

  constructor(checkpointUid: string, freeze: Freeze, clock: Clock) {
    this.checkpointUid = checkpointUid;
    this.#freeze = freeze;
    void clock.sleep(freeze.leftMs, this.#thawed.signal).then(
      () => freeze.end(),
      () => undefined, // thawed in time
    );
  }

  /** Whether the guest stands frozen. */
  get isFrozen(): boolean {
    return this.#freeze.isHeld;
  }

  /** Thaws, unless the end of the window has. */
  async thaw(): Promise<FrozenWindow> {
    this.#thawed.abort();
    return await this.#freeze.end();
  }
}
