import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { identityOf, killAndWait, type ProcessIdentity, stopNow } from "../qemu/process.ts";
import type { BootClock } from "./boot-clock.ts";
import { endSilentGuard, launchGuard, reachGuard } from "./fence-launch.ts";
import type { FenceLink } from "./fence-link.ts";
import type { FenceChange, FenceOrder, FenceStart, FenceWord } from "./fence-protocol.ts";
import { FencedContainers } from "./fenced-containers.ts";
import { unconfirmed } from "./lease-hold.ts";

export interface FenceDeps {
  /** The agent's data folder. */
  readonly data: string;
  readonly clock: BootClock;
  readonly logger: Logger;
  /** Whether a workload may be started now. */
  readonly mayStart: (uid: string) => boolean;
}

interface Child extends ProcessIdentity {
  heldAtMs: number | undefined;
}

const START_MS = 10_000;
/** A guard that has not answered for so long is not relied on. */
const SILENT_MS = 3_000;

/**
 * The fence guard as the agent sees it. There is none until the first process is to be started under one, and the
 * one of an earlier agent is met again.
 */
export class Fence {
  readonly #deps: FenceDeps;
  readonly #children = new Map<string, Child>();
  readonly #starting = new Map<string, PromiseWithResolvers<number>>();
  /** Those that it holds beside its children. */
  readonly containers: FencedContainers;
  #link: FenceLink | undefined;
  #opening: Promise<FenceLink> | undefined;
  #listener: (change: FenceChange) => void = () => undefined;
  #deadlineMs = 0;
  #unansweredSinceMs: number | undefined;

  private constructor(deps: FenceDeps) {
    this.#deps = deps;
    this.containers = new FencedContainers({
      ...deps,
      open: () => this.#open(),
      send: (order) => this.#send(order),
      tell: (change) => this.#listener(change),
    });
  }

  /** Meets the guard that is there, if any. One that does not answer is ended, and its children with it. */
  static async attach(deps: FenceDeps): Promise<Fence> {
    const fence = new Fence(deps);
    const link = await reachGuard(deps.data);
    if (link === undefined) return fence;
    try {
      await fence.#meet(link);
    } catch (error) {
      deps.logger.error({ err: error }, "the fence guard does not answer; it is ended, and its VMs with it");
      link.close();
      await endSilentGuard(deps.data);
    }
    return fence;
  }

  /** Who is told of changes. */
  listen(listener: (change: FenceChange) => void): void {
    this.#listener = listener;
  }

  /** Sees to it that a guard is there, so that the next start need not wait for it. */
  async prepare(): Promise<void> {
    await this.#open();
  }

  /** The child or container of a workload: when it was paused, if it is. */
  find(uid: string): { readonly heldAtMs: number | undefined } | undefined {
    return this.#children.get(uid) ?? this.containers.find(uid);
  }

  /** Uids of its children and containers. */
  list(): string[] {
    return [...this.#children.keys(), ...this.containers.list()];
  }

  /** Until when children may run. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  get guardPid(): number | undefined {
    return this.#link?.guardPid;
  }

  /** True when it has something to hold and does not answer. */
  isSilent(): boolean {
    const since = this.#unansweredSinceMs;
    return since !== undefined && this.list().length > 0 && this.#deps.clock() - since > SILENT_MS;
  }

  /** Starts a process that must not run without the lease. @throws StillpointError QEMU_FAILED, START_UNCONFIRMED */
  async start(order: FenceStart): Promise<ProcessIdentity> {
    const link = await this.#open();
    // From here on the guard stops it, whatever keeps this agent.
    if (!this.#deps.mayStart(order.uid)) throw unconfirmed(order.uid);
    const started = Promise.withResolvers<number>();
    this.#starting.set(order.uid, started);
    const late = new StillpointError("QEMU_FAILED", "the fence guard does not answer");
    const timer = setTimeout(() => started.reject(late), START_MS);
    link.send({ start: order });
    try {
      return await this.#know(order.uid, await started.promise, undefined);
    } finally {
      clearTimeout(timer);
      this.#starting.delete(order.uid);
    }
  }

  /** Says until when children may run. Repeated, it finds out whether the guard still answers. */
  renew(deadlineMs: number): void {
    this.#deadlineMs = Math.max(this.#deadlineMs, deadlineMs);
    if (this.#link === undefined) return;
    this.#unansweredSinceMs ??= this.#deps.clock();
    this.#link.send({ renew: this.#deadlineMs });
  }

  resume(uid: string): void {
    this.#send({ resume: uid });
  }

  /** Ends a child or a container at once, also one that is paused, and waits until it is gone. */
  async kill(uid: string): Promise<void> {
    const child = this.#children.get(uid);
    if (child === undefined) await this.containers.end(uid);
    else await killAndWait(child);
  }

  /** Pauses a child or a container although the guard does not answer, which hears of it when it does. At once: a word of it may follow. */
  holdByForce(uid: string): void {
    const child = this.#children.get(uid);
    if (child === undefined) this.containers.holdByForce(uid);
    if (child === undefined || child.heldAtMs !== undefined) return;
    stopNow(child);
    this.#send({ hold: uid });
    this.#note(uid, this.#deps.clock());
  }

  /** Leaves the guard to itself: it keeps its children, and ends when it has none. */
  close(): void {
    const link = this.#link;
    this.#link = undefined;
    this.containers.close();
    link?.close();
  }

  #send(order: FenceOrder): void {
    this.#link?.send(order);
  }

  #open(): Promise<FenceLink> {
    if (this.#link !== undefined) return Promise.resolve(this.#link);
    this.#opening ??= launchGuard(this.#deps.data)
      .then((link) => this.#meet(link))
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }

  async #meet(link: FenceLink): Promise<FenceLink> {
    const { children, containers, deadlineMs } = await link.meet((word) => this.#hear(link, word));
    this.#link = link;
    this.#deadlineMs = Math.max(this.#deadlineMs, deadlineMs);
    this.#unansweredSinceMs = undefined;
    for (const { uid, pid, heldAtMs } of children) await this.#know(uid, pid, heldAtMs).catch(() => undefined);
    void link.closed.then(() => this.#lose(link));
    this.renew(this.#deadlineMs);
    this.containers.meet(containers);
    return link;
  }

  async #know(uid: string, pid: number, heldAtMs: number | undefined): Promise<ProcessIdentity> {
    const found = await identityOf(pid);
    if (found === undefined) throw new StillpointError("QEMU_FAILED", "QEMU ended at once");
    this.#children.set(uid, { ...found, heldAtMs });
    return found;
  }

  #hear(link: FenceLink, word: FenceWord): void {
    if (this.#link !== link) return;
    if ("renewed" in word) this.#unansweredSinceMs = undefined;
    else if ("started" in word) this.#starting.get(word.started)?.resolve(word.pid);
    else if ("failed" in word) this.#starting.get(word.failed)?.reject(new StillpointError("QEMU_FAILED", word.why));
    else if (this.containers.hear(word)) return;
    else if ("held" in word) this.#note(word.held, word.atMs);
    else if ("resumed" in word) this.#note(word.resumed, undefined);
    else if ("exited" in word) this.#forget(word.exited);
  }

  #note(uid: string, heldAtMs: number | undefined): void {
    const child = this.#children.get(uid);
    if (child === undefined || (child.heldAtMs === undefined) === (heldAtMs === undefined)) return;
    child.heldAtMs = heldAtMs;
    this.#listener(heldAtMs === undefined ? { resumed: uid } : { held: uid, atMs: heldAtMs });
  }

  #forget(uid: string): void {
    if (this.#children.delete(uid)) this.#listener({ gone: uid });
  }

  /** Its children die with it; one that it had only just begun to start might not. */
  #lose(link: FenceLink): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#unansweredSinceMs = undefined;
    const lost = new StillpointError("QEMU_FAILED", "the fence guard has ended");
    for (const { reject } of this.#starting.values()) reject(lost);
    this.containers.lose(lost);
    if (this.#children.size > 0) this.#deps.logger.error("the fence guard has ended, and its VMs with it");
    for (const [uid, child] of this.#children) {
      this.#forget(uid); // at once: it may be started under another guard meanwhile
      killAndWait(child).catch((error: unknown) => {
        this.#deps.logger.error({ err: error, uid }, "a VM without a guard does not end");
      });
    }
  }
}
