import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { type Clock, systemClock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { FollowedMessage, Log, LogMessage } from "./log.ts";
import type { BodyCodec, StoredRecord } from "./record.ts";
import { decodeRecord, toStored } from "./record-message.ts";
import { Wakeup } from "./wakeup.ts";
import { within } from "./within.ts";

export interface RecordViewOptions<Body> {
  readonly log: Log;
  /** NATS subject filter: rec.projects.*.vms.* */
  readonly filter: string;
  readonly codec: BodyCodec<Body>;
  /** Ends the view. */
  readonly signal: AbortSignal;
  /**
   * For very many records: keeps of each no more than the body and the packed message, from which `raw` is read anew
   * each time, and no changes: a lean view cannot be watched.
   */
  readonly lean?: boolean;
  /** Is told of each change as the view takes it in. */
  readonly mirror?: Mirror<Body>;
  /** The system's if unsaid. */
  readonly clock?: Pick<Clock, "sleep">;
}

/** What goes with a view, change by change. */
export interface Mirror<Body> {
  /** The view begins anew: all records that there are come after this. */
  clear(): void;
  /** They have come: what comes now happens in the log's order. */
  loaded?(): void;
  set(record: StoredRecord<Body>): void;
  delete(name: string): void;
}

export interface WatchOptions {
  /** Only what happened after this token; absent: all that is there first. */
  readonly since?: number;
  /** Only names that begin so. */
  readonly prefix?: string;
  readonly signal: AbortSignal;
}

/** What a watcher gets: the snapshot (`current`), its end (`synced`), then what happens. */
export type ViewChange<Body> =
  | { readonly kind: "current" | "changed"; readonly record: StoredRecord<Body>; readonly token: number }
  | { readonly kind: "deleted"; readonly record: StoredRecord<Body>; readonly token: number }
  | { readonly kind: "synced" | "bookmark"; readonly token: number };

interface Change<Body> {
  readonly kind: "changed" | "deleted";
  readonly record: StoredRecord<Body>;
}

/** How many changes are kept for watchers that come back or are slow. */
const KEPT_CHANGES = 4_096;
const BOOKMARK_MS = 30_000;
const PUSH_WAIT_MS = 100;
const RESTART_MS = 200;

/**
 * All records of one kind in memory, fed by one ordered follower, for lists and watches. It lags behind the log by
 * about a millisecond; `waitFor` a write's version before reading what it did. Survives restarts of the server, and
 * starts over when the stream was made again.
 */
export class RecordView<Body> {
  readonly #options: RecordViewOptions<Body>;
  readonly #clock: Pick<Clock, "sleep">;
  readonly #records = new Map<string, StoredRecord<Body>>();
  readonly #moved = new Wakeup();
  #changes: Change<Body>[] = [];
  #token = 0;
  /** Watches may begin here or later. */
  #floor = 0;

  private constructor(options: RecordViewOptions<Body>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Resolves when the view has read everything that was there. */
  static async start<Body>(options: RecordViewOptions<Body>): Promise<RecordView<Body>> {
    const view = new RecordView(options);
    await view.#load();
    void view.#run();
    return view;
  }

  /** Stream sequence up to which this view knows everything. */
  get token(): number {
    return this.#token;
  }

  get(name: string): StoredRecord<Body> | undefined {
    return this.#records.get(name);
  }

  /** In order of name; `prefix` is of the name. */
  list(prefix = ""): StoredRecord<Body>[] {
    const wanted = [...this.#records.values()].filter(({ name }) => name.startsWith(prefix));
    return wanted.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** In no order, and without a copy. */
  values(): IterableIterator<StoredRecord<Body>> {
    return this.#records.values();
  }

  /** Resolves when the view knows the write that has this version; at once for 0. */
  async waitFor(token: number, signal: AbortSignal = this.#options.signal): Promise<void> {
    while (this.#token < token) {
      signal.throwIfAborted();
      const woken = await within(this.#clock, PUSH_WAIT_MS, this.#moved.next(signal));
      if (!woken) await this.#skipForeign(token);
    }
  }

  /** Resolves when the view knows what was written before this call, by whatever replica. */
  async catchUp(signal: AbortSignal = this.#options.signal): Promise<void> {
    const newest = await this.#options.log.read(this.#options.filter);
    await this.waitFor(newest?.sequence ?? 0, signal);
  }

  /** Snapshot, `synced`, changes, and a `bookmark` each 30 s. Fails with RESYNC when `since` is too old. */
  async *watch({ since, prefix = "", signal }: WatchOptions): AsyncGenerator<ViewChange<Body>> {
    const token = since ?? this.#token;
    if (since === undefined) {
      for (const record of this.list(prefix)) yield { kind: "current", record, token };
    } else {
      await this.waitFor(since, signal);
    }
    yield { kind: "synced", token };
    for await (const change of this.#changesAfter(token, signal)) {
      if (!("record" in change) || change.record.name.startsWith(prefix)) yield change;
    }
  }

  /** A slow reader misses nothing until it is thousands of changes behind; then it has to start over. */
  async *#changesAfter(token: number, signal: AbortSignal): AsyncGenerator<ViewChange<Body>> {
    let position = token;
    while (!signal.aborted && !this.#options.signal.aborted) {
      const woken = this.#moved.next(signal);
      const changes = this.#after(position);
      position = Math.max(position, this.#token);
      for (const { kind, record } of changes) yield { kind, record, token: record.version };
      if (changes.length === 0 && !(await within(this.#clock, BOOKMARK_MS, woken)))
        yield { kind: "bookmark", token: position };
    }
  }

  async #load(): Promise<void> {
    const { log, filter, signal } = this.#options;
    for (;;) {
      try {
        const last = await log.lastSequence();
        const newest = await log.newest(filter);
        this.#records.clear();
        this.#options.mirror?.clear();
        this.#changes = [];
        this.#token = 0;
        for (const message of newest) this.#apply(message);
        this.#options.mirror?.loaded?.();
        // Also where nothing matches: a token from before the stream was made again is below what it begins with.
        this.#token = Math.max(this.#token, last);
        this.#floor = this.#token;
        this.#moved.wake();
        return;
      } catch (error) {
        if (!isStillpointError(error, "UNAVAILABLE") || signal.aborted) throw error;
      }
      await this.#clock.sleep(RESTART_MS);
    }
  }

  async #run(): Promise<void> {
    const { log, filter, signal } = this.#options;
    while (!signal.aborted) {
      try {
        for await (const message of log.follow(filter, { afterSequence: this.#token, signal })) this.#take(message);
      } catch (error) {
        // RESYNC: the stream was made again. Anything else has no other cure either.
        await this.#load().catch(() => this.#clock.sleep(RESTART_MS));
        if (!isStillpointError(error, "RESYNC")) await this.#clock.sleep(RESTART_MS);
      }
    }
    this.#moved.wake();
  }

  #take(message: FollowedMessage): void {
    const change = this.#apply(message);
    if (change === undefined) return;
    if (this.#options.lean === true) this.#floor = this.#token;
    else this.#changes.push(change);
    if (this.#changes.length >= 2 * KEPT_CHANGES) {
      const dropped = this.#changes.splice(0, KEPT_CHANGES);
      this.#floor = dropped.at(-1)?.record.version ?? this.#floor;
    }
    this.#moved.wake();
  }

  #apply(message: LogMessage): Change<Body> | undefined {
    if (message.sequence <= this.#token) return undefined;
    this.#token = message.sequence;
    const { codec, lean, mirror } = this.#options;
    const stored = toStored(codec, message);
    const { deleted } = stored.raw;
    const record = lean === true ? withoutRaw(stored, message.data) : stored;
    if (deleted !== true) {
      this.#records.set(record.name, record);
      mirror?.set(record);
      return { kind: "changed", record };
    }
    if (!this.#records.delete(record.name)) return undefined;
    mirror?.delete(record.name);
    return { kind: "deleted", record };
  }

  #after(token: number): Change<Body>[] {
    if (token < this.#floor || token > this.#token) {
      throw new StillpointError("RESYNC", `nothing is known about what followed token ${token}`);
    }
    if (token === this.#token) return [];
    let first = this.#changes.length;
    while (first > 0 && (this.#changes[first - 1]?.record.version ?? 0) > token) first--;
    return this.#changes.slice(first);
  }

  /** A token of a record of another kind never comes by: the view is past it when it knows the newest of its own. */
  async #skipForeign(token: number): Promise<void> {
    const { log, filter } = this.#options;
    const last = await log.lastSequence();
    if (last < token) throw new StillpointError("RESYNC", `the log ends at ${last}, before token ${token}`);
    const newest = await log.read(filter);
    if ((newest?.sequence ?? 0) <= this.#token && this.#token < token) this.#token = token;
  }
}

/** Packed, a record of many like parts takes a sixth of its length. */
function withoutRaw<Body>(stored: StoredRecord<Body>, data: Uint8Array): StoredRecord<Body> {
  const { name, uid, operation, body, version, time } = stored;
  // A copy: what it gives is the beginning of a large buffer.
  const packed = new Uint8Array(zstdCompressSync(data));
  return {
    ...{ name, uid, operation, body, version, time },
    get raw() {
      return { ...decodeRecord(zstdDecompressSync(packed)) };
    },
  };
}
