import { StillpointError } from "#libs/errors";
import type { StoredRecord } from "./record.ts";

export interface Change<Body> {
  readonly kind: "changed" | "deleted";
  readonly record: StoredRecord<Body>;
}

/** How many changes are kept for watchers that come back or are slow. */
const KEPT = 8_192;

/** The last changes that a view took in, of the records whose sequence is a watcher's token. */
export class KeptChanges<Body> {
  #changes: Change<Body>[] = [];
  /** What followed this token, or a later one, is known. */
  #floor = 0;

  /** Nothing is known of what was before this token. */
  beginAt(token: number): void {
    this.#changes = [];
    this.#floor = token;
  }

  add(change: Change<Body>): void {
    this.#changes.push(change);
    if (this.#changes.length < 2 * KEPT) return;
    const dropped = this.#changes.splice(0, KEPT);
    this.#floor = dropped.at(-1)?.record.version ?? this.#floor;
  }

  /** What happened after a token, up to `newest`; fails with RESYNC when that is not known. */
  after(token: number, newest: number): Change<Body>[] {
    if (token < this.#floor || token > newest) {
      throw new StillpointError("RESYNC", `nothing is known about what followed token ${token}`);
    }
    if (token === newest) return [];
    let first = this.#changes.length;
    while (first > 0 && (this.#changes[first - 1]?.record.version ?? 0) > token) first--;
    return this.#changes.slice(first);
  }
}
