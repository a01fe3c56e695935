import type { Heartbeat } from "#contracts/host/v1/agent";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { parseHostName } from "#libs/names";
import type { RecordChange, RecordStore, RecordView, StoredRecord } from "#libs/records";
import { type HostLimits, inventoryOf, sameInventory } from "./inventory.ts";

export interface HostRegistryDeps {
  readonly store: RecordStore<Host>;
  readonly view: RecordView<Host>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: HostLimits & {
    /** A host that was not heard for this long, on the monotonic clock, is down. */
    readonly downAfterMs: number;
  };
}

/**
 * Which hosts there are, from their heartbeats. A record is written when something changes, not for each heartbeat.
 * Every replica hears every heartbeat; whoever writes second finds nothing to change.
 *
 * READY: heard of lately. CORDONED: the same, and an operator wants nothing new on it. DRAINING: besides, an operation
 * brings to rest what is there. DOWN: not heard of for
 * `downAfterMs`, by this replica, since it started at the latest; the next heartbeat brings it back.
 */
export class HostRegistry {
  readonly #deps: HostRegistryDeps;
  readonly #startedMs: number;
  readonly #heard = new Map<string, { readonly atMs: number; readonly time: Date }>();
  readonly #writing = new Set<string>();

  constructor(deps: HostRegistryDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonicMs();
  }

  /** When this replica last heard of a host. */
  heartbeatTime(host: string): Date | undefined {
    return this.#heard.get(host)?.time;
  }

  /** Takes a heartbeat in. Two agents under one name: the one that was there first stays until it is down. */
  async heard(heartbeat: Heartbeat): Promise<void> {
    const { view, clock, logger } = this.#deps;
    const { host, hostUid } = heartbeat;
    const known = view.get(host);
    if (known !== undefined && known.uid !== hostUid && known.body.state !== HostState.DOWN) {
      logger.warn({ host, uid: known.uid, other: hostUid }, "two agents call themselves by one host's name");
      return;
    }
    this.#heard.set(host, { atMs: clock.monotonicMs(), time: clock.now() });
    const upToDate =
      known?.uid === hostUid && sameInventory(known.body, inventoryOf(heartbeat, known.body, this.#deps.limits));
    // The next heartbeat comes soon: what changes while a write is under way is seen then.
    if (upToDate || this.#writing.has(host)) return;
    this.#writing.add(host);
    try {
      await this.#write(heartbeat, known);
    } finally {
      this.#writing.delete(host);
    }
  }

  /** Marks hosts down that were not heard of for too long. */
  async sweep(): Promise<void> {
    const { view, store, clock, limits } = this.#deps;
    const nowMs = clock.monotonicMs();
    for (const { name, body } of view.list()) {
      const silentMs = nowMs - (this.#heard.get(name)?.atMs ?? this.#startedMs);
      if (body.state === HostState.DOWN || silentMs < limits.downAfterMs) continue;
      await store.modify(name, ({ body }) => {
        if (body.state === HostState.DOWN) return undefined;
        return {
          body: { ...body, state: HostState.DOWN },
          events: [event("down", { silentMs: Math.round(silentMs) })],
        };
      });
    }
  }

  async #write(heartbeat: Heartbeat, known: StoredRecord<Host> | undefined): Promise<void> {
    const { store, view } = this.#deps;
    // Made anew under an old name: nothing of the old host holds for it.
    if (known !== undefined && known.uid !== heartbeat.hostUid) await store.remove(known, [event("replaced", {})]);
    const written = await store.modify(heartbeat.host, ({ body }) => this.#change(heartbeat, body));
    const stored = written ?? (await this.#create(heartbeat));
    if (stored !== undefined) await view.waitFor(stored.version);
  }

  async #create(heartbeat: Heartbeat): Promise<StoredRecord<Host> | undefined> {
    parseHostName(heartbeat.host);
    const body = inventoryOf(heartbeat, { cordoned: false, draining: false }, this.#deps.limits);
    try {
      return await this.#deps.store.create(heartbeat.host, {
        uid: heartbeat.hostUid,
        body,
        events: [event("ready", { capabilities: body.capabilities })],
      });
    } catch (error) {
      // Another replica heard the same heartbeat.
      if (isStillpointError(error, "RECORD_CONFLICT")) return undefined;
      throw error;
    }
  }

  #change(heartbeat: Heartbeat, before: Host): RecordChange<Host> | undefined {
    const body = inventoryOf(heartbeat, before, this.#deps.limits);
    if (sameInventory(before, body)) return undefined;
    const happened = before.state === HostState.DOWN ? "ready" : "inventory_changed";
    return { body, events: [event(happened, { capabilities: body.capabilities })] };
  }
}

function event(happened: string, data: Readonly<Record<string, unknown>>) {
  return { aggregate: "host", happened, data };
}
