import type { HeartbeatAck, HeldWorkload } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { AwaitedWords } from "./awaited-words.ts";
import type { BootClock } from "./boot-clock.ts";
import type { Fence } from "./fence.ts";
import type { Heard, Lease } from "./lease.ts";
import { unconfirmed } from "./lease-hold.ts";

/** The fence guard, as far as the lease needs it. */
export interface LeaseFence
  extends Pick<Fence, "listen" | "list" | "renew" | "resume" | "isSilent" | "deadlineMs" | "holdByForce" | "close"> {
  find(uid: string): { readonly heldAtMs: number | undefined } | undefined;
}

export interface HostLeaseDeps {
  readonly lease: Lease;
  readonly fence: LeaseFence;
  readonly clock: BootClock;
  readonly timer: Pick<Clock, "sleep">;
  /** Writes down the highest epoch that was seen, durably. */
  readonly saveEpoch: (epoch: number) => Promise<void>;
  readonly workloads: LeasedWorkloads;
  readonly logger: Logger;
}

/** A workload that must not run twice. */
export interface Startable {
  readonly uid: string;
  /** For people. */
  readonly name: string;
}

/** Who may start workloads that must not run twice. */
export interface Starts {
  /**
   * Waits for the word of the host's owner that it is to run here, where there is none since the lease was last
   * interrupted; at most 5 s. @throws StillpointError LEASE_EXPIRED, START_UNCONFIRMED
   */
  confirm(workload: Startable, signal: AbortSignal): Promise<void>;
  /** To be called right before it is started. @throws StillpointError LEASE_EXPIRED, START_UNCONFIRMED */
  require(workload: Startable): void;
  /** Whether `require` would let it pass. */
  may(uid: string): boolean;
  /** Nothing of it is here, and it is about to be made: what runs elsewhere is not made here. */
  making(uid: string): void;
  /** All of it here is about to be deleted. */
  deleting(uid: string): void;
}

/** What becomes of workloads as their processes are paused, go on and end; by uid, unknown ones too. */
export interface LeasedWorkloads {
  paused(uid: string, atMs: number): void;
  resumed(uid: string): Promise<void>;
  gone(uid: string): void;
  /** Its process is ended for good; its files stay. */
  leaveBehind(uid: string): Promise<void>;
  /** For a heartbeat. */
  describe(uids: readonly string[]): Promise<HeldWorkload[]>;
  leftBehind(): Promise<HeldWorkload[]>;
}

const LOOK_MS = 250;
/** What the guard gets to say that it has paused its children. */
const GRACE_MS = 500;

/**
 * The host's lease at work. The guard pauses its children at the deadline; this agent watches whether it does, and
 * does it itself for a guard that does not answer. What remains: both stopped within seconds of each other, and
 * neither one's end noticed.
 */
export class HostLease implements Starts {
  readonly #deps: HostLeaseDeps;
  readonly #timer: NodeJS.Timeout;
  readonly #awaited: AwaitedWords;
  #hearing: Promise<void> = Promise.resolve();
  #asks = Promise.withResolvers<void>();

  constructor(deps: HostLeaseDeps) {
    this.#deps = deps;
    this.#awaited = new AwaitedWords({ clock: deps.timer, ask: () => this.#ask() });
    const { fence, workloads, clock } = deps;
    fence.listen((change) => {
      if ("held" in change) this.#pause(change.held, change.atMs);
      else if ("gone" in change) workloads.gone(change.gone);
      else this.#own(workloads.resumed(change.resumed), change.resumed);
    });
    for (const uid of fence.list()) {
      const heldAtMs = fence.find(uid)?.heldAtMs;
      if (heldAtMs !== undefined) workloads.paused(uid, heldAtMs);
    }
    this.#timer = setInterval(() => this.#look(clock()), LOOK_MS).unref();
  }

  get bootId(): string {
    return this.#deps.lease.bootId;
  }

  get epoch(): number {
    return this.#deps.lease.epoch;
  }

  /** Resolves when the next workload is paused, or is to be started, and waits for a word. */
  get asks(): Promise<void> {
    return this.#asks.promise;
  }

  async confirm(workload: Startable, signal: AbortSignal): Promise<void> {
    const { lease, clock } = this.#deps;
    if (lease.isValid(clock()) && !this.may(workload.uid)) await this.#awaited.wait(workload.uid, signal);
    signal.throwIfAborted();
    this.require(workload);
  }

  require({ uid, name }: Startable): void {
    const { lease, clock } = this.#deps;
    if (this.may(uid)) return;
    if (lease.isValid(clock())) throw unconfirmed(name);
    throw new StillpointError("LEASE_EXPIRED", `${name} must not run on a host that cannot reach the control plane`);
  }

  may(uid: string): boolean {
    return this.#deps.lease.mayStart(uid, this.#deps.clock());
  }

  making(uid: string): void {
    this.#deps.lease.making(uid, this.#deps.clock());
  }

  deleting(uid: string): void {
    this.#deps.lease.deleting(uid);
  }

  /** What a heartbeat says of workloads. Call `sending` with the same `held` when it is sent. */
  async report(): Promise<Pick<HeartbeatReport, "held" | "leftBehind">> {
    const { fence, workloads } = this.#deps;
    const paused = fence.list().filter((uid) => fence.find(uid)?.heldAtMs !== undefined);
    const held = new Set([...paused, ...this.#awaited.list()]);
    return { held: await workloads.describe([...held]), leftBehind: await workloads.leftBehind() };
  }

  sending(sequence: number, held: readonly HeldWorkload[]): void {
    const { fence, lease, clock } = this.#deps;
    lease.sending(sequence, clock(), new Map(held.map(({ uid }) => [uid, fence.find(uid)?.heldAtMs])));
  }

  /** Takes an answer to a heartbeat; answers are taken in turn. */
  hear(ack: HeartbeatAck): Promise<void> {
    this.#hearing = this.#hearing
      .then(() => this.#take(ack))
      .catch((error: unknown) => {
        this.#deps.logger.error({ err: error }, "the answer to a heartbeat is not taken");
      });
    return this.#hearing;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#hearing;
    this.#deps.fence.close();
  }

  #pause(uid: string, atMs: number): void {
    this.#deps.workloads.paused(uid, atMs);
    this.#ask();
  }

  #ask(): void {
    this.#asks.resolve();
    this.#asks = Promise.withResolvers();
  }

  async #take(ack: HeartbeatAck): Promise<void> {
    const { lease, clock, logger, saveEpoch, fence } = this.#deps;
    const heard = lease.hear(ack, clock());
    if ("refused" in heard) return logger.debug({ ack, why: heard.refused }, "the answer to a heartbeat means nothing");
    // Before it counts: an agent that comes after this one must not believe an older owner.
    if (heard.epoch > lease.epoch) await saveEpoch(heard.epoch);
    lease.take(heard, ack.sequence, clock());
    fence.renew(lease.deadlineMs);
    this.#obey(heard);
  }

  #obey({ resume, end }: Exclude<Heard, { readonly refused: string }>): void {
    const { fence, workloads } = this.#deps;
    for (const [uid, sinceMs] of resume) {
      if (sinceMs !== undefined && fence.find(uid)?.heldAtMs === sinceMs) fence.resume(uid);
    }
    this.#awaited.given(resume.keys());
    for (const uid of end) this.#own(workloads.leaveBehind(uid), uid);
  }

  #look(nowMs: number): void {
    const { fence, lease } = this.#deps;
    const running = fence.list().filter((uid) => fence.find(uid)?.heldAtMs === undefined);
    if (running.length === 0) return;
    const isLate = nowMs >= fence.deadlineMs + GRACE_MS;
    if (isLate || fence.isSilent()) for (const uid of running) fence.holdByForce(uid);
    else fence.renew(lease.deadlineMs);
  }

  #own(work: Promise<void>, uid: string): void {
    work.catch((error: unknown) => this.#deps.logger.error({ err: error, uid }, "the lease of the host is not kept"));
  }
}

interface HeartbeatReport {
  readonly held: HeldWorkload[];
  readonly leftBehind: HeldWorkload[];
}
