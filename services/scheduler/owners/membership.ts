import type { SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import type { Clock, Random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { type RecordStore, type RecordView, type StoredRecord, type ViewChange, Wakeup } from "#libs/records";
import type { Ownership } from "./ownership.ts";
import { Shares } from "./shares.ts";

export interface MembershipDeps {
  readonly store: RecordStore<SchedulerReplica>;
  readonly view: RecordView<SchedulerReplica>;
  /** Resolves when all records of hosts are known here that the log had before that version. */
  readonly knowsHostsAt: (version: number) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Pick<Logger, "info" | "warn">;
  /** Where other replicas forward to, and nobody else listens; asked when it joins. */
  readonly address: () => string;
  readonly ttlMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** This replica's own record; not stored: it is being made. */
interface Self {
  stored: StoredRecord<SchedulerReplica> | undefined;
  readonly name: string;
  /** When each renewal was sent that has not been seen in the log yet. */
  readonly sent: Map<number, number>;
  confirmedMs: number;
}

/**
 * The replicas of the scheduler, each a record that it writes anew all the time, and this one among them.
 *
 * Out: it has no record; owns nothing. Joined: its record is written; owns nothing yet. Confirmed: it has seen one of its
 * own renewals in the log, and with that all changes of the membership before it, and has sent it less than a ttl ago:
 * it owns its share of the hosts. When that time is over, or its record is gone, it is out, and joins under a new name.
 *
 * Nobody is taken out before that: the others wait a ttl since they have seen his newest renewal, which is later than
 * when he sent it. Whoever comes by his hosts has seen what he has written before (`knowsHostsAt`).
 */
export class Membership implements Ownership {
  readonly #deps: MembershipDeps;
  readonly #shares = new Shares();
  /** The newest version of each replica's record, and when it was first seen here. */
  readonly #seen = new Map<string, { readonly version: number; atMs: number }>();
  readonly #confirmed = new Wakeup();
  #self: Self | undefined;
  #closed = false;

  constructor(deps: MembershipDeps) {
    this.#deps = deps;
    void this.#follow();
  }

  get epoch(): number {
    return this.#shares.epoch;
  }

  get confirmedMs(): number {
    return this.#self?.confirmedMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Its own name; undefined while it is nothing that others could count on. */
  get name(): string | undefined {
    return this.#isConfirmed() ? this.#self?.name : undefined;
  }

  ownedSinceMs(host: string): number | undefined {
    const { name } = this;
    return name !== undefined && this.#shares.ownerOf(host)?.name === name ? this.#shares.sinceMs(host) : undefined;
  }

  ownerOf(host: string): SchedulerReplica | undefined {
    return this.#shares.ownerOf(host);
  }

  /** Where the replicas are reached, this one too. */
  addresses(): Set<string> {
    return new Set([...this.#shares.members.values()].map(({ address }) => address));
  }

  /** Joins, renews, and takes out who has fallen silent; call it each third of the ttl. */
  async tick(): Promise<void> {
    if (this.#closed) return;
    const self = this.#self;
    if (self !== undefined && this.#isExpired(self)) await this.#leave(self, "its renewals come too late");
    if (this.#self?.stored === undefined) return await this.#join();
    await this.#renew(this.#self, this.#self.stored);
    await this.#expire();
  }

  /** Resolves when it owns its share. Fails with the signal's reason. */
  async isJoined(signal: AbortSignal = this.#deps.signal): Promise<void> {
    while (!this.#isConfirmed()) {
      signal.throwIfAborted();
      await this.#confirmed.next(signal);
    }
  }

  /** Gives its hosts to the others at once. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#self !== undefined) await this.#leave(this.#self, "it ends");
  }

  #isConfirmed(): boolean {
    const { clock, ttlMs } = this.#deps;
    return this.#self !== undefined && clock.monotonicMs() - this.#self.confirmedMs < ttlMs;
  }

  #isExpired({ confirmedMs, sent }: Self): boolean {
    const { clock, ttlMs } = this.#deps;
    const lastMs = Math.max(confirmedMs, sent.get(0) ?? Number.NEGATIVE_INFINITY);
    return clock.monotonicMs() - lastMs >= ttlMs;
  }

  async #join(): Promise<void> {
    const { store, clock, random, ttlMs, logger } = this.#deps;
    const name = `schedulers/${random.id("replica")}`;
    const address = this.#deps.address();
    const sent = new Map([[0, clock.monotonicMs()]]);
    const self: Self = { stored: undefined, name, sent, confirmedMs: Number.NEGATIVE_INFINITY };
    // Its own view may be faster than the answer.
    this.#self = self;
    const record = { uid: name, body: { name, address, ttlMs, renewals: 0 }, events: [event("joined", { address })] };
    try {
      self.stored = await store.create(name, record);
    } catch (error) {
      this.#self = undefined;
      throw error;
    }
    for (const seen of this.#seen.values()) seen.atMs = clock.monotonicMs();
    logger.info({ replica: name }, "this replica takes its share of the hosts");
    if (this.#closed) await this.#leave(self, "it ends");
    // Who had this address before is gone: nobody need wait until his time is over.
    const former = this.#others().filter(({ body }) => body.address === address);
    await Promise.all(former.map((other) => this.#remove(other)));
  }

  async #renew(self: Self, stored: StoredRecord<SchedulerReplica>): Promise<void> {
    const { store, clock } = this.#deps;
    const renewals = stored.body.renewals + 1;
    // Of a repeated one, whose answer was lost, it may be the first that is in the log.
    if (!self.sent.has(renewals)) self.sent.set(renewals, clock.monotonicMs());
    try {
      self.stored = await store.update(stored, { body: { ...stored.body, renewals } });
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      await this.#leave(self, "it was taken out");
    }
  }

  async #leave(self: Self, why: string): Promise<void> {
    this.#self = undefined;
    const { store, logger } = this.#deps;
    logger.info({ replica: self.name }, `this replica gives up its share of the hosts: ${why}`);
    if (self.stored === undefined) return;
    await store.remove(self.stored, [event("left", {})]).catch((err: unknown) => {
      // The others take it out when its time is over.
      if (!isStillpointError(err, "RECORD_CONFLICT")) logger.warn({ err }, "this replica could not say that it leaves");
    });
  }

  /** Only who hears the others can say that they are silent. */
  async #expire(): Promise<void> {
    const { clock, ttlMs } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.confirmedMs > ttlMs / 2) return;
    for (const other of this.#others()) {
      const seen = this.#seen.get(other.name);
      if (seen === undefined || seen.version !== other.version || nowMs - seen.atMs < other.body.ttlMs) continue;
      this.#deps.logger.warn({ replica: other.name }, "a replica is silent: its hosts go to the others");
      await this.#remove(other);
    }
  }

  #others(): StoredRecord<SchedulerReplica>[] {
    return this.#deps.view.list().filter(({ name }) => name !== this.#self?.name);
  }

  async #remove(other: StoredRecord<SchedulerReplica>): Promise<void> {
    await this.#deps.store.remove(other, [event("lost", {})]).catch((error: unknown) => {
      // It lives, or another was faster.
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    });
  }

  async #follow(): Promise<void> {
    const { view, signal, logger, clock } = this.#deps;
    while (!signal.aborted) {
      try {
        const since = await this.#takeAll();
        for await (const change of view.watch({ since, signal })) await this.#take(change);
      } catch (err) {
        if (signal.aborted) return;
        logger.warn({ err }, "the membership is read anew");
        await clock.sleep(100, signal).catch(() => undefined);
      }
    }
  }

  /** All that the view has, at once: a renewal says nothing while what was before it is not taken. Gives as of when. */
  async #takeAll(): Promise<number> {
    const { view, knowsHostsAt } = this.#deps;
    const { token } = view;
    const all = view.list();
    await knowsHostsAt(token);
    const left = new Set(all.map(({ name }) => name));
    for (const name of this.#shares.members.keys()) if (!left.has(name)) this.#left(name, token);
    for (const record of all) this.#lives(record);
    return token;
  }

  async #take(change: ViewChange<SchedulerReplica>): Promise<void> {
    if (!("record" in change)) return;
    const { record } = change;
    const isKnown = this.#shares.has(record.name);
    // What the hosts' former owners have written is known before they change hands.
    if (change.kind === "deleted" ? isKnown : !isKnown) await this.#deps.knowsHostsAt(record.version);
    if (change.kind === "deleted") this.#left(record.name, record.version);
    else this.#lives(record);
  }

  #lives({ name, version, body }: StoredRecord<SchedulerReplica>): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if ((this.#seen.get(name)?.version ?? 0) < version) this.#seen.set(name, { version, atMs: nowMs });
    if (!this.#shares.has(name)) this.#shares.join(body, version, nowMs);
    if (name === this.#self?.name) this.#confirm(this.#self, body.renewals);
  }

  #left(name: string, version: number): void {
    this.#seen.delete(name);
    this.#shares.leave(name, version, this.#deps.clock.monotonicMs());
    if (name === this.#self?.name) this.#self = undefined;
  }

  #confirm(self: Self, renewals: number): void {
    const sentMs = self.sent.get(renewals);
    if (sentMs === undefined) return;
    self.confirmedMs = Math.max(self.confirmedMs, sentMs);
    for (const older of self.sent.keys()) if (older <= renewals) self.sent.delete(older);
    this.#confirmed.wake();
  }
}

function event(happened: string, data: Readonly<Record<string, unknown>>) {
  return { aggregate: "scheduler", happened, data };
}
