import type { CheckpointReadiness } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { isMaterialChange } from "#libs/readiness";
import type { Workload } from "../workload.ts";
import { type AskGuest, GuestDisturbed } from "./guest-facts.ts";
import type { InspectOptions } from "./inspect.ts";

export interface ReadinessDeps {
  readonly list: () => readonly Workload[];
  readonly find: (uid: string) => Workload | undefined;
  /** Whether a step acts on the workload, or its guest is or may be frozen: nobody else calls the guest then. */
  readonly isDisturbed: (workload: Workload) => Promise<boolean>;
  readonly inspect: (workload: Workload, options: InspectOptions) => Promise<CheckpointReadiness>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const EVERY_MS = 60_000;
const AGAIN_MS = 250;

/**
 * Keeps an eye on what a checkpoint of each workload would give: soon after something happened to it, and every
 * minute while it runs. One workload after the other, and none whose guest is not to be disturbed: it waits.
 */
export class ReadinessWatch {
  readonly #deps: ReadinessDeps;
  readonly #last = new Map<string, CheckpointReadiness>();
  readonly #due = new Set<string>();
  #looking: Promise<void> | undefined;
  readonly #stopped = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(deps: ReadinessDeps) {
    this.#deps = deps;
  }

  /** Looks at every workload now, and every minute at those that run. */
  start(): void {
    this.#watching = this.#watch();
  }

  async close(): Promise<void> {
    this.#stopped.abort(new DOMException("the agent is stopping", "AbortError"));
    await this.#watching;
    await this.#looking;
  }

  /** Something happened to a workload: it is looked at as soon as its guest may be asked. */
  touch(uid: string): void {
    this.#due.add(uid);
    this.#wake();
  }

  /**
   * What a checkpoint would give now, with the guest's writers asked anew; while the guest is not to be disturbed,
   * what it was at the last look. @throws StillpointError TARGET_BUSY when there was none yet
   */
  async ask(workload: Workload): Promise<CheckpointReadiness> {
    try {
      return await this.#look(workload, true);
    } catch (error) {
      if (!(error instanceof GuestDisturbed)) throw error;
      const last = this.#last.get(workload.uid);
      if (last !== undefined) return last;
      throw new StillpointError("TARGET_BUSY", `${workload.definition.name} is being worked on`, { cause: error });
    }
  }

  async #watch(): Promise<void> {
    const { list, clock } = this.#deps;
    const { signal } = this.#stopped;
    for (const { uid } of list()) this.touch(uid);
    while (!signal.aborted) {
      await clock.sleep(EVERY_MS, signal).catch(() => undefined);
      for (const { uid, machine } of list()) if (machine !== undefined) this.touch(uid);
    }
  }

  #wake(): void {
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined;
      if (this.#due.size > 0 && !this.#stopped.signal.aborted) this.#wake();
    });
  }

  async #lookAtAll(): Promise<void> {
    const { signal } = this.#stopped;
    while (this.#due.size > 0 && !signal.aborted) {
      for (const uid of [...this.#due]) if (!signal.aborted) await this.#lookAtDue(uid);
      if (this.#due.size > 0) await this.#deps.clock.sleep(AGAIN_MS, signal).catch(() => undefined);
    }
  }

  async #lookAtDue(uid: string): Promise<void> {
    const { find, isDisturbed, logger } = this.#deps;
    const workload = find(uid);
    try {
      if (workload !== undefined && (await isDisturbed(workload))) return;
      // What happens from here on makes it due again.
      this.#due.delete(uid);
      if (workload === undefined) this.#last.delete(uid);
      else await this.#look(workload, false);
    } catch (error) {
      if (error instanceof GuestDisturbed) this.#due.add(uid);
      else if (!this.#stopped.signal.aborted)
        logger.warn({ err: error, uid }, "what a checkpoint would give is not known");
    }
  }

  async #look(workload: Workload, anew: boolean): Promise<CheckpointReadiness> {
    const { inspect, find } = this.#deps;
    const { machine, uid } = workload;
    const ask: AskGuest = (use) =>
      machine === undefined
        ? Promise.reject(new GuestDisturbed("there is no guest"))
        : machine.guest.turn(async (call) => {
            await this.#refuseDisturbed(workload);
            return await use(call);
          });
    const readiness = await inspect(workload, { ask, anew });
    // It was started, ended or removed meanwhile: what was seen is of two lives.
    if (workload.machine !== machine || find(uid) !== workload) throw new GuestDisturbed("its machine has changed");
    const before = this.#last.get(uid);
    this.#last.set(uid, readiness);
    if (isMaterialChange(before, readiness)) workload.observe({ readiness });
    return readiness;
  }

  async #refuseDisturbed(workload: Workload): Promise<void> {
    if (await this.#deps.isDisturbed(workload)) throw new GuestDisturbed("a step acts on it");
  }
}
