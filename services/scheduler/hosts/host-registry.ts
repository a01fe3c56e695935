import type { Heartbeat } from "#contracts/host/v1/agent";
import { type Host, type HostIdentity, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { identityName, ledgerName, parseHostName } from "#libs/names";
import type { RecordChange, RecordStore, StoredRecord } from "#libs/records";
import { type Ownership, owns } from "../owners/ownership.ts";
import type { HostLimits } from "./capacity.ts";
import { isForgotten, tellRefused } from "./forgotten.ts";
import { type HostRecords, heldBy } from "./host-records.ts";
import { Identities } from "./identities.ts";
import { differs, eventsBetween, takeIn } from "./inventory.ts";
import { problemEvents } from "./problems.ts";
import { SilentHosts } from "./silent-hosts.ts";

export interface HostRegistryDeps {
  readonly store: RecordStore<Host>;
  readonly identities: RecordStore<HostIdentity>;
  readonly records: HostRecords;
  readonly ownership: Ownership;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: HostLimits & {
    /** A host that was not heard for this long, on the monotonic clock, is down. */
    readonly downAfterMs: number;
    /** For so long a former owner may still answer a host's heartbeats. */
    readonly takeoverMs: number;
  };
}

/**
 * Which hosts there are, from their heartbeats. A record is written when something changes, not for each heartbeat, and
 * by the owner of the host alone.
 *
 * READY: heard of lately. CORDONED: the same, and an operator wants nothing new on it. DRAINING: besides, an operation
 * brings to rest what is there. Suspected, in any of these: on the way to DOWN, see SilentHosts. DOWN: not heard of for
 * `downAfterMs`; the next heartbeat brings it back.
 *
 * A heartbeat is acknowledged only when the record, as the log has it, says neither DOWN nor suspected: until the host
 * is written DOWN after that, nothing of it starts elsewhere.
 */
export class HostRegistry {
  readonly #deps: HostRegistryDeps;
  readonly #heard = new Map<string, { readonly atMs: number; readonly time: Date }>();
  readonly #silent: SilentHosts;
  readonly #identities: Identities;
  /** Hosts whose record is being written from here. */
  readonly #writing = new Set<string>();
  /** When hosts were marked last, while many were. */
  #manyMarkedMs = Number.NEGATIVE_INFINITY;
  #marking = 0;
  /** How many of these for a heartbeat. */
  #takingIn = 0;
  /** Hosts whose last write from here has an unknown outcome, or failed: only another one settles what the record says. */
  readonly #unsure = new Set<string>();

  constructor(deps: HostRegistryDeps) {
    this.#deps = deps;
    this.#silent = new SilentHosts(deps);
    this.#identities = new Identities(deps.limits);
  }

  /** True while many hosts fail: what is done about their workloads waits until all of them are known to be down. */
  get isMarkingMany(): boolean {
    return this.#deps.clock.monotonicMs() - this.#manyMarkedMs < marksSettleMs;
  }

  /** When this replica last heard of a host. */
  heartbeatTime(host: string): Date | undefined {
    return this.#heard.get(host)?.time;
  }

  /** A host has spoken; true when what it says is for this replica to read. */
  notice(host: string): boolean {
    if (this.#owns(host)) return true;
    this.#heardNow(host);
    return false;
  }

  /**
   * Takes a heartbeat in; true when it may be acknowledged. Two agents under one name: the one that was there first
   * stays until it is down.
   */
  async heard(heartbeat: Heartbeat): Promise<boolean> {
    const { records, clock, ownership } = this.#deps;
    const { host, hostUid } = heartbeat;
    parseHostName(host);
    const sinceMs = ownership.ownedSinceMs(host);
    if (sinceMs === undefined || (await this.#isRefused(heartbeat))) return false;
    const known = records.hosts.get(host);
    const standing = this.#identities.judge(heartbeat, known?.body, { nowMs: clock.monotonicMs(), sinceMs });
    if (standing === "twin" || standing === "repeated") return false;
    this.#heardNow(host);
    // The next heartbeat comes soon: what changes while a write is under way is seen then.
    if (this.#writing.has(host)) return false;
    if (known !== undefined && this.#isUpToDate(heartbeat, known)) return true;
    if (standing === "waiting") return this.#isSurelyHeard(known);
    if (this.#takingIn >= writesAtOnce) return false;
    const stored = await this.#counted(() => this.#alone(host, () => this.#write(heartbeat, known)));
    return stored !== undefined && stored.uid === hostUid && isHeard(stored.body) && this.#owns(host);
  }

  async #counted<Result>(write: () => Promise<Result>): Promise<Result> {
    this.#takingIn++;
    try {
      return await write();
    } finally {
      this.#takingIn--;
    }
  }

  async #isRefused(heartbeat: Heartbeat): Promise<boolean> {
    const { records, identities } = this.#deps;
    const identity = records.identities.get(identityName(heartbeat.host))?.body;
    if (!isForgotten(heartbeat, identity)) return false;
    this.#identities.forget(heartbeat.host);
    if (identity?.heardSince !== true) await tellRefused(identities, heartbeat.host, { uid: heartbeat.hostUid });
    return true;
  }

  /** Marks hosts that were not heard of for too long: suspected first, then down. */
  async sweep(): Promise<void> {
    const { records } = this.#deps;
    this.#silent.listen();
    const hosts = [...records.hosts.values()].values();
    const work = async () => {
      for (const known of hosts) {
        if (this.#writing.has(known.name)) continue;
        const change = this.#silent.changeOf(known, this.#heard.get(known.name)?.atMs);
        if (change !== undefined) await this.#alone(known.name, () => this.#mark(known, change));
      }
    };
    await Promise.all(Array.from({ length: marksAtOnce }, work));
    this.#forgetGone();
  }

  /** What was known of hosts that are no more, or that never came to be. */
  #forgetGone(): void {
    const { records, clock, limits } = this.#deps;
    const beforeMs = clock.monotonicMs() - limits.downAfterMs;
    for (const [host, { atMs }] of this.#heard) {
      if (atMs > beforeMs || this.#writing.has(host) || records.hosts.get(host) !== undefined) continue;
      this.#heard.delete(host);
      this.#unsure.delete(host);
      this.#identities.forget(host);
      this.#silent.forget(host);
    }
  }

  #heardNow(host: string): void {
    const { clock } = this.#deps;
    this.#heard.set(host, { atMs: clock.monotonicMs(), time: clock.now() });
  }

  #owns(host: string): boolean {
    return owns(this.#deps.ownership, host);
  }

  #isUpToDate(heartbeat: Heartbeat, { name, uid, body }: StoredRecord<Host>): boolean {
    if (this.#unsure.has(name) || uid !== heartbeat.hostUid) return false;
    return !differs(body, this.#takeIn(heartbeat, body));
  }

  #isSurelyHeard(known: StoredRecord<Host> | undefined): boolean {
    return known !== undefined && !this.#unsure.has(known.name) && isHeard(known.body);
  }

  /** What is written of a host is written one after the other, and known here before it is acted upon. */
  async #alone(
    host: string,
    write: () => Promise<StoredRecord<Host> | undefined>,
  ): Promise<StoredRecord<Host> | undefined> {
    this.#writing.add(host);
    try {
      const stored = await write();
      if (stored !== undefined) await this.#deps.records.hosts.waitFor(stored.version);
      // Somebody else was faster: what the view has may be older than that.
      if (stored === undefined) this.#unsure.add(host);
      else this.#unsure.delete(host);
      return stored;
    } catch (error) {
      this.#unsure.add(host);
      throw error;
    } finally {
      this.#writing.delete(host);
    }
  }

  /** Over the very state that was looked at: whoever changed it meanwhile may know better. */
  async #mark(known: StoredRecord<Host>, change: RecordChange<Host>): Promise<StoredRecord<Host> | undefined> {
    if (++this.#marking >= manyMarks) this.#manyMarkedMs = this.#deps.clock.monotonicMs();
    return await this.#deps.store
      .update(known, change)
      .catch(unlessConflict)
      .finally(() => this.#marking--);
  }

  async #write(heartbeat: Heartbeat, known: StoredRecord<Host> | undefined): Promise<StoredRecord<Host> | undefined> {
    const { store } = this.#deps;
    // Made anew under an old name: nothing of the old host holds for it.
    if (known !== undefined && known.uid !== heartbeat.hostUid) await store.remove(known, [event("replaced", {})]);
    const written = await store.modify(heartbeat.host, ({ body }) => this.#change(heartbeat, body));
    return written ?? (await this.#create(heartbeat));
  }

  async #create(heartbeat: Heartbeat): Promise<StoredRecord<Host> | undefined> {
    if (!this.#owns(heartbeat.host)) return undefined;
    // It may have been forgotten this very moment.
    if (isForgotten(heartbeat, (await this.#deps.identities.get(identityName(heartbeat.host)))?.body)) return undefined;
    const body = this.#takeIn(heartbeat, undefined);
    const events = [event("ready", { capabilities: body.capabilities }), ...problemEvents([], body.problems)];
    return await this.#deps.store
      .create(heartbeat.host, { uid: heartbeat.hostUid, body, events, revives: true })
      .catch(unlessConflict);
  }

  #change(heartbeat: Heartbeat, before: Host): RecordChange<Host> | undefined {
    if (!this.#owns(heartbeat.host)) return undefined;
    const body = this.#takeIn(heartbeat, before);
    const isNeeded = this.#unsure.has(heartbeat.host) || differs(before, body);
    return isNeeded ? { body, events: eventsBetween(before, body) } : undefined;
  }

  #takeIn(heartbeat: Heartbeat, before: Host | undefined): Host {
    const { records, clock, limits } = this.#deps;
    const used = heldBy(records.ledgers.get(ledgerName(heartbeat.host)));
    const twin = this.#identities.twinOf(heartbeat.host, clock.monotonicMs());
    return takeIn(heartbeat, before, { now: clock.now(), used, twin }, limits);
  }
}

/** When thousands come back at once, the others are written after their next heartbeat. */
const writesAtOnce = 64;
/** When many hosts fail at once each is to be down in time, also where everything else waits for the same machine. */
const marksAtOnce = 512;
/** So many at once are no single failures. */
const manyMarks = 32;
/** Hosts that failed together were heard last within one period of heartbeats. */
const marksSettleMs = 1_000;

const isHeard = ({ state, suspected }: Host): boolean => state !== HostState.DOWN && !suspected;

function unlessConflict(error: unknown): undefined {
  if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
}

function event(happened: string, data: Readonly<Record<string, unknown>>) {
  return { aggregate: "host", happened, data };
}
