import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { ContainerEngine, EngineEvent, EngineFacts } from "../container-engine.ts";

export interface EngineWatchDeps {
  readonly engine: Pick<ContainerEngine, "probe" | "events">;
  /** Called each time that the engine has been met, with what may have changed meanwhile. `first` only once. */
  readonly onMet: (options: { readonly isFirst: boolean }) => Promise<void>;
  readonly onEvent: (event: EngineEvent) => Promise<void>;
  /** Called now and then, for what no event told. */
  readonly onLook: () => Promise<void>;
  /** Time of the last event that was handled, in an earlier life too; undefined for none. */
  readonly lastEvent: () => number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const AGAIN_MS = 1_000;
const LOOK_MS = 30_000;
/** VMs do not wait any longer for an engine that hangs. */
const FIRST_TRY_MS = 20_000;
const NANOS_IN_MS = 1e6;

/**
 * Keeps in touch with the container engine: whether it answers and what it can do, what happens to containers, and what
 * happened while nobody listened, as far as the engine remembers that.
 */
export class EngineWatch {
  readonly #deps: EngineWatchDeps;
  readonly #stopped = new AbortController();
  readonly #firstTry = Promise.withResolvers<void>();
  #facts: EngineFacts | undefined;
  #isFirst = true;
  #isMet = false;
  #watching: Promise<void> | undefined;

  constructor(deps: EngineWatchDeps) {
    this.#deps = deps;
  }

  /** Resolves when the engine has been met, or was found not to answer (in time): it is tried again each second then. */
  async start(): Promise<void> {
    this.#watching = this.#watch();
    const patience = new AbortController();
    const tooLong = this.#deps.clock.sleep(FIRST_TRY_MS, patience.signal).catch(() => undefined);
    await Promise.race([this.#firstTry.promise, tooLong]);
    patience.abort();
  }

  async close(): Promise<void> {
    this.#stopped.abort(new DOMException("the agent is stopping", "AbortError"));
    await this.#watching;
  }

  /** Undefined while it does not answer, or what it has is being looked at. */
  get facts(): EngineFacts | undefined {
    return this.#isMet ? this.#facts : undefined;
  }

  /** The facts also while what it has is being looked at. @throws StillpointError ENGINE_UNAVAILABLE */
  known(): EngineFacts {
    if (this.#facts !== undefined) return this.#facts;
    throw away();
  }

  /** @throws StillpointError ENGINE_UNAVAILABLE until all that it has is adopted */
  require(): void {
    if (!this.#isMet) throw away();
  }

  async #watch(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopped;
    let told = "";
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
        told = "";
      } catch (error) {
        const why = whyAway(error);
        if (!signal.aborted && why !== told) logger.warn(`there are no containers here for now: ${why}`);
        told = why;
      }
      this.#isMet = false;
      this.#facts = undefined;
      this.#firstTry.resolve();
      await clock.sleep(AGAIN_MS, signal).catch(() => undefined);
    }
  }

  /** Meets the engine and hears it until it goes. What lies behind is heard before it is looked at how things stand. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { engine, onMet, onEvent, lastEvent, clock, logger } = this.#deps;
    const facts = await engine.probe();
    const now = clock.now().getTime() * NANOS_IN_MS;
    const last = lastEvent();
    if (last !== undefined) {
      for await (const event of await engine.events({ since: last, until: now }, signal)) {
        if (event.time > last) await onEvent(event);
      }
    }
    const events = await engine.events({ since: now }, signal);
    this.#facts = facts;
    await onMet({ isFirst: this.#isFirst });
    this.#isFirst = false;
    this.#isMet = true;
    this.#firstTry.resolve();
    logger.info({ engine: facts }, "the container engine answers");
    const looking = new AbortController();
    const looks = this.#lookNowAndThen(AbortSignal.any([signal, looking.signal]));
    try {
      for await (const event of events) await onEvent(event);
    } finally {
      looking.abort();
      await looks;
    }
  }

  async #lookNowAndThen(signal: AbortSignal): Promise<void> {
    const { clock, onLook, logger } = this.#deps;
    while (!signal.aborted) {
      await clock.sleep(LOOK_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      await onLook().catch((error: unknown) => logger.debug({ err: error }, "containers are looked at later"));
    }
  }
}

/** In one line: it may go on for days. */
function whyAway(error: unknown): string {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}

function away(): StillpointError {
  return new StillpointError("ENGINE_UNAVAILABLE", "the container engine of this host does not answer");
}
