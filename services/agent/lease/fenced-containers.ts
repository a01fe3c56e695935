import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { BootClock } from "./boot-clock.ts";
import { endGroup, findGroup, freeze } from "./control-group.ts";
import type { FenceChange, FencedContainer, FenceOrder, FenceWord } from "./fence-protocol.ts";

const ANSWER_MS = 10_000;
const AGAIN_MS = 1_000;

/** A container that must not run without the host's lease. */
export interface ContainerToGuard {
  readonly uid: string;
  /** What the engine calls it: 64 digits. */
  readonly id: string;
  /** Whether its engine has it paused now, for a checkpoint. */
  isPaused(): boolean;
}

interface Known extends ContainerToGuard {
  heldAtMs: number | undefined;
}

export interface FencedContainersDeps {
  readonly clock: BootClock;
  readonly logger: Logger;
  /** Meets the guard, and starts one where there is none. */
  open(): Promise<unknown>;
  /** Nothing while there is no guard. */
  send(order: FenceOrder): void;
  tell(change: FenceChange): void;
}

/**
 * The containers that the fence guard holds, as the agent sees them. They do not die with it, as its children do: another
 * one is started then, and told of them; until it is there the agent holds them, at the deadline.
 */
export class FencedContainers {
  readonly #deps: FencedContainersDeps;
  readonly #known = new Map<string, Known>();
  readonly #asked = new Map<string, PromiseWithResolvers<boolean>>();
  readonly #closed = new AbortController();

  constructor(deps: FencedContainersDeps) {
    this.#deps = deps;
  }

  find(uid: string): { readonly id: string; readonly heldAtMs: number | undefined } | undefined {
    return this.#known.get(uid);
  }

  list(): string[] {
    return [...this.#known.keys()];
  }

  /**
   * Has it held from now on, at once when there is no lease; before it is started, and again when it runs. False when
   * nothing of it can be seen here: it does not run, or cannot be held. @throws StillpointError ENGINE_FAILED
   */
  async guard(container: ContainerToGuard): Promise<boolean> {
    const { uid, id } = container;
    const before = this.#known.get(uid);
    this.#known.set(uid, { ...container, heldAtMs: before?.id === id ? before.heldAtMs : undefined });
    await this.#deps.open().catch((error: unknown) => {
      void this.#openAgain();
      throw error;
    });
    const asked = Promise.withResolvers<boolean>();
    this.#asked.get(uid)?.reject(new StillpointError("ENGINE_FAILED", `${uid} is being guarded anew`));
    this.#asked.set(uid, asked);
    const late = new StillpointError("ENGINE_FAILED", "the fence guard does not answer");
    const timer = setTimeout(() => asked.reject(late), ANSWER_MS);
    this.#order(uid);
    try {
      return await asked.promise;
    } finally {
      clearTimeout(timer);
      if (this.#asked.get(uid) === asked) this.#asked.delete(uid);
    }
  }

  /** It does not run any more, and nobody starts it but by guarding it first. */
  release(uid: string): void {
    if (this.#known.delete(uid)) this.#deps.send({ release: uid });
  }

  /** Ends it at once, also one that is held, and waits until nothing of it is left. */
  async end(uid: string): Promise<void> {
    const known = this.#known.get(uid);
    const group = known && findGroup(known.id);
    if (group !== undefined) await endGroup(group);
  }

  /** Without the guard, which hears of it when it answers. */
  holdByForce(uid: string): void {
    const known = this.#known.get(uid);
    if (known === undefined || known.heldAtMs !== undefined) return;
    const group = findGroup(known.id);
    if (group === undefined) return;
    freeze(group);
    this.#deps.send({ hold: uid });
    this.#note(known, this.#deps.clock());
  }

  /** Takes what a guard has, and gives it what it lacks. */
  meet(containers: readonly FencedContainer[]): void {
    for (const { uid, id, heldAtMs } of containers) {
      if (!this.#known.has(uid)) this.#known.set(uid, { uid, id, isPaused: () => false, heldAtMs });
    }
    const there = new Set(containers.map(({ uid }) => uid));
    for (const uid of this.#known.keys()) if (!there.has(uid)) this.#order(uid);
  }

  /** Whether a word was about a container. */
  hear(word: FenceWord): boolean {
    if ("guarded" in word) {
      this.#asked.get(word.guarded)?.resolve(word.isFound);
      return true;
    }
    const uid = aboutWhom(word);
    const known = uid === undefined ? undefined : this.#known.get(uid);
    if (known === undefined) return false;
    if ("held" in word) this.#note(known, word.atMs);
    else if ("resumed" in word) this.#note(known, undefined);
    else this.#gone(known);
    return true;
  }

  /** The guard has ended. */
  lose(error: StillpointError): void {
    for (const { reject } of this.#asked.values()) reject(error);
    if (this.#known.size > 0) void this.#openAgain();
  }

  close(): void {
    this.#closed.abort();
  }

  async #openAgain(): Promise<void> {
    const { logger } = this.#deps;
    while (!this.#closed.signal.aborted && this.#known.size > 0) {
      try {
        await this.#deps.open();
        return logger.warn("the fence guard has ended; another one holds the containers");
      } catch (error) {
        logger.error({ err: error }, "there is no fence guard for the containers of this host");
        await delay(AGAIN_MS);
      }
    }
  }

  #order(uid: string): void {
    const known = this.#known.get(uid);
    if (known === undefined) return;
    const { id, heldAtMs } = known;
    this.#deps.send({ guard: { uid, id, isPaused: known.isPaused(), ...(heldAtMs !== undefined && { heldAtMs }) } });
  }

  #note(known: Known, heldAtMs: number | undefined): void {
    if ((known.heldAtMs === undefined) === (heldAtMs === undefined)) return;
    known.heldAtMs = heldAtMs;
    this.#deps.tell(heldAtMs === undefined ? { resumed: known.uid } : { held: known.uid, atMs: heldAtMs });
  }

  /** It stays guarded: it may be started again. */
  #gone(known: Known): void {
    known.heldAtMs = undefined;
    this.#deps.tell({ gone: known.uid });
  }
}

function aboutWhom(word: FenceWord): string | undefined {
  if ("held" in word) return word.held;
  if ("resumed" in word) return word.resumed;
  return "exited" in word ? word.exited : undefined;
}
