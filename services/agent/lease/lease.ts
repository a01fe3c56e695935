import type { HeartbeatAck } from "#contracts/host/v1/agent";

/** What an owner may grant at most: an absurd ttl must not free a host from its owner for good. */
const LONGEST_TTL_MS = 60_000;

/** The host as it names itself in its heartbeats. */
export interface LeaseHolder {
  readonly hostUid: string;
  readonly bootId: string;
}

/** What an answer to a heartbeat means. */
export type Heard =
  | { readonly refused: "host" | "boot" | "sequence" | "epoch" | "ttl" }
  | {
      readonly epoch: number;
      /** Until when nobody else runs what is placed here; in the past for an answer that came too late. */
      readonly deadlineMs: number;
      /** May run here: paused when the heartbeat was sent, by when that was, as only that very pause is meant; or to be started. */
      readonly resume: Held;
      /** Paused when the heartbeat was sent. */
      readonly end: readonly string[];
    };

/** What a heartbeat names as held: since when it is paused; undefined: it is not, and waits to be started. */
export type Held = ReadonlyMap<string, number | undefined>;

interface Sent {
  readonly atMs: number;
  readonly held: Held;
}

/**
 * The arithmetic of the host's lease; no clock and no effect of its own. All times are milliseconds on one clock that
 * never jumps and counts while the host sleeps.
 *
 * The lease runs from the *sending* of the heartbeat that was answered: the owner heard it later than that, and counts
 * from when it did. It never gets shorter, and never comes from an answer to another host, another life of this agent,
 * a heartbeat that was not sent, or an owner that was followed by one with a higher epoch.
 *
 * Whenever it has run out, what is placed here may have been recovered elsewhere. So a workload is started only when the
 * owner has named it since, or when it was made here since.
 */
export class Lease {
  readonly #holder: LeaseHolder;
  readonly #sent = new Map<number, Sent>();
  #epoch: number;
  #deadlineMs = Number.NEGATIVE_INFINITY;
  /** Sequence of the newest heartbeat on whose answer a word on paused workloads was taken. */
  #newestWord = -1;
  /** What may be started while this lease lasts. */
  readonly #named = new Set<string>();

  /** @param epoch the highest that was seen, also by agents before this one */
  constructor(holder: LeaseHolder, epoch: number) {
    this.#holder = holder;
    this.#epoch = epoch;
  }

  get bootId(): string {
    return this.#holder.bootId;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  isValid(nowMs: number): boolean {
    return nowMs < this.#deadlineMs;
  }

  /** Whether it may be started now. */
  mayStart(uid: string, nowMs: number): boolean {
    return this.isValid(nowMs) && this.#named.has(uid);
  }

  /** To be called when nothing of it is here, and before it is made: what runs elsewhere is not made here. */
  making(uid: string, nowMs: number): void {
    if (this.isValid(nowMs)) this.#named.add(uid);
  }

  /** It is being deleted. */
  deleting(uid: string): void {
    this.#named.delete(uid);
  }

  /** To be called just before a heartbeat is sent. @param held what it names as such */
  sending(sequence: number, nowMs: number, held: Held): void {
    for (const [old, { atMs }] of this.#sent) if (atMs + LONGEST_TTL_MS <= nowMs) this.#sent.delete(old);
    this.#sent.set(sequence, { atMs: nowMs, held });
  }

  /** Judges an answer; changes nothing. */
  hear({ hostUid, bootId, sequence, epoch, ttlMs, ...words }: HeartbeatAck, nowMs: number): Heard {
    if (hostUid !== this.#holder.hostUid) return { refused: "host" };
    if (bootId !== this.#holder.bootId) return { refused: "boot" };
    const sent = this.#sent.get(sequence);
    if (sent === undefined) return { refused: "sequence" };
    if (epoch < this.#epoch) return { refused: "epoch" };
    if (!(ttlMs > 0)) return { refused: "ttl" };
    const deadlineMs = sent.atMs + Math.min(ttlMs, LONGEST_TTL_MS);
    // What an owner said may be untrue once its lease has run out, and an older word never follows a newer one.
    const counts = deadlineMs > nowMs && sequence >= this.#newestWord;
    const meant = (uids: readonly string[]) => (counts ? uids.filter((uid) => sent.held.has(uid)) : []);
    const resume = new Map(meant(words.resumeUids).map((uid) => [uid, sent.held.get(uid)]));
    // Of one that does not run there is nothing to end: it may be what a recovery goes back to.
    const end = meant(words.endUids).filter((uid) => sent.held.get(uid) !== undefined);
    return { epoch, deadlineMs, resume, end };
  }

  /** Takes what was heard, once its epoch has been written down. */
  take(heard: Exclude<Heard, { readonly refused: string }>, sequence: number, nowMs: number): void {
    if (heard.epoch < this.#epoch) return;
    if (!this.isValid(nowMs)) this.#named.clear();
    this.#epoch = heard.epoch;
    this.#deadlineMs = Math.max(this.#deadlineMs, heard.deadlineMs);
    this.#newestWord = Math.max(this.#newestWord, sequence);
    if (this.isValid(nowMs)) for (const uid of heard.resume.keys()) this.#named.add(uid);
  }
}
