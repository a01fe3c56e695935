import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import type { RecordChange, StoredRecord } from "#libs/records";
import type { Ownership } from "../owners/ownership.ts";

export interface SilentHostsDeps {
  readonly ownership: Ownership;
  readonly clock: Clock;
  readonly limits: { readonly downAfterMs: number; readonly takeoverMs: number };
}

/**
 * A host is suspected after this share of the time after which it is down: one renewal fits into the rest, also when
 * thousands are written at once.
 */
const suspectedAfter = 0.5;
/** A process that slept for so long has heard nothing meanwhile, whoever has spoken. */
const deafAfterMs = 2_500;

/**
 * When a host's owner says that it is down. Two writes lead there, so that nobody says it who does not own the host:
 *
 * 1. Suspected: written over what the owner knows. Whoever comes to own the host after that sees it before he answers a
 *    heartbeat, and takes it back first.
 * 2. Down: written over the first, when a renewal of the owner that was sent after it is in the log and has left the
 *    host to him. A write that comes late, from an owner that slept, fails: the next owner wrote in between.
 *
 * A new owner begins to count when the old one can no longer answer the host.
 */
export class SilentHosts {
  readonly #deps: SilentHostsDeps;
  /** The suspicions that were seen, of which version and since when. */
  readonly #suspected = new Map<string, { readonly version: number; readonly sinceMs: number }>();
  #listenedMs: number;
  #listeningSinceMs: number;

  constructor(deps: SilentHostsDeps) {
    this.#deps = deps;
    this.#listenedMs = deps.clock.monotonicMs();
    this.#listeningSinceMs = this.#listenedMs;
  }

  /** Says that heartbeats are being heard; call it at least once a second. */
  listen(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#listenedMs > deafAfterMs) this.#listeningSinceMs = nowMs;
    this.#listenedMs = nowMs;
  }

  /** What is to be written of a host that was last heard at that monotonic time; undefined for nothing. */
  changeOf(known: StoredRecord<Host>, heardMs: number | undefined): RecordChange<Host> | undefined {
    const { ownership, clock, limits } = this.#deps;
    const { name, body } = known;
    const nowMs = clock.monotonicMs();
    const lateMs = suspectedAfter * limits.downAfterMs;
    // Nearly all of thousands, many times a second.
    if (!body.suspected && heardMs !== undefined && nowMs - heardMs < lateMs) return void this.#suspected.delete(name);
    const ownedMs = ownership.ownedSinceMs(name);
    if (ownedMs === undefined || body.state === HostState.DOWN) return void this.#suspected.delete(name);
    const sinceMs = Math.max(heardMs ?? 0, ownedMs + limits.takeoverMs, this.#listeningSinceMs);
    const silentMs = nowMs - sinceMs;
    if (!body.suspected) {
      this.#suspected.delete(name);
      return silentMs < lateMs ? undefined : { body: { ...body, suspected: true } };
    }
    const isConfirmed = this.#isConfirmed(known);
    if (silentMs < limits.downAfterMs || !isConfirmed) return undefined;
    const events = [{ aggregate: "host", happened: "down", data: { silentMs: Math.round(silentMs) } }];
    return { body: { ...body, suspected: false, state: HostState.DOWN }, events };
  }

  /** The host is no more. */
  forget(host: string): void {
    this.#suspected.delete(host);
  }

  #isConfirmed({ name, version }: StoredRecord<Host>): boolean {
    const { ownership, clock } = this.#deps;
    const seen = this.#suspected.get(name);
    if (seen?.version === version) return ownership.confirmedMs > seen.sinceMs;
    this.#suspected.set(name, { version, sinceMs: clock.monotonicMs() });
    return false;
  }
}
