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
      /** Paused when the heartbeat was sent, by when that was: only that very pause is meant. */
      readonly resume: ReadonlyMap<string, number>;
      readonly end: readonly string[];
    };

interface Sent {
  readonly atMs: number;
  readonly held: ReadonlyMap<string, number>;
}

/**
 * The arithmetic of the host's lease; no clock and no effect of its own. All times are milliseconds on one clock that
 * never jumps and counts while the host sleeps.
 *
 * The lease runs from the *sending* of the heartbeat that was answered: the owner heard it later than that, and counts
 * from when it did. It never gets shorter, and never comes from an answer to another host, another life of this agent,
 * a heartbeat that was not sent, or an owner that was followed by one with a higher epoch.
 */
export class Lease {
  readonly #holder: LeaseHolder;
  readonly #sent = new Map<number, Sent>();
  #epoch: number;
  #deadlineMs = Number.NEGATIVE_INFINITY;
  /** Sequence of the newest heartbeat on whose answer a word on paused workloads was taken. */
  #newestWord = -1;

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

  /** To be called just before a heartbeat is sent. @param held the paused workloads that it names, by when they were */
  sending(sequence: number, nowMs: number, held: ReadonlyMap<string, number>): void {
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
    const resume = new Map(meant(words.resumeUids).map((uid) => [uid, sent.held.get(uid) ?? 0]));
    return { epoch, deadlineMs, resume, end: meant(words.endUids) };
  }

  /** Takes what was heard, once its epoch has been written down. */
  take(heard: Exclude<Heard, { readonly refused: string }>, sequence: number): void {
    if (heard.epoch < this.#epoch) return;
    this.#epoch = heard.epoch;
    this.#deadlineMs = Math.max(this.#deadlineMs, heard.deadlineMs);
    this.#newestWord = Math.max(this.#newestWord, sequence);
  }
}
