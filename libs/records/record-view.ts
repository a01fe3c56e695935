import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { type Clock, systemClock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { Arrivals } from "./arrivals.ts";
import { type Change, KeptChanges } from "./kept-changes.ts";
import type { FollowedMessage, Log, LogMessage } from "./log.ts";
import { NameOrder, type NameRange } from "./name-order.ts";
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
  /** Of the names of all records; absent while they are loaded. */
  #order: NameOrder | undefined;
  readonly #moved = new Wakeup();
  readonly #arrivals = new Arrivals();
  readonly #changes = new KeptChanges<Body>();
  #token = 0;

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

  /** In order of name; `prefix` is of the name. Costs as much as what it gives, however many there are. */
  list(prefix = "", range?: NameRange): StoredRecord<Body>[] {
    const listed: StoredRecord<Body>[] = [];
    for (const name of this.#order?.startingWith(prefix, range) ?? []) {
      const record = this.#records.get(name);
      if (record !== undefined) listed.push(record);
    }
    return listed;
  }

  /** In no order, and without a copy. */
  values(): IterableIterator<StoredRecord<Body>> {
    return this.#records.values();
  }

  /**
   * Resolves when the view knows the write that has this version; at once for 0. `endsBefore` is told when the log ends
   * before it, as it seems to do for a while where a leader of NATS was cut off and does not know it yet.
   */
  async waitFor(token: number, signal = this.#options.signal, endsBefore = (_last: number) => {}): Promise<void> {
    if (this.#token >= token) return;
    using waiting = this.#arrivals.at(token);
    while (this.#token < token) {
      signal.throwIfAborted();
      // Not called off when it has come, nearly at once: that would cost more than it is worth.
      const late = this.#clock.sleep(PUSH_WAIT_MS).then(
        () => false,
        () => false,
      );
      const hasCome = await Promise.race([waiting.come.then(() => true), late]);
      if (!hasCome) await this.#skipForeign(token, endsBefore);
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
      // It comes from elsewhere, or from before the stream was made again.
      await this.waitFor(since, signal, (last) => {
        throw new StillpointError("RESYNC", `the log ends at ${last}, before token ${since}`);
      });
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
      const changes = this.#changes.after(position, this.#token);
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
        this.#order = undefined;
        this.#records.clear();
        this.#options.mirror?.clear();
        this.#token = 0;
        for (const message of newest) this.#apply(message);
        this.#order = new NameOrder(this.#records.keys());
        this.#options.mirror?.loaded?.();
        // Also where nothing matches: a token from before the stream was made again is below what it begins with.
        this.#token = Math.max(this.#token, last);
        this.#changes.beginAt(this.#token);
        this.#arrivals.reached(this.#token);
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
    this.#arrivals.reached(this.#token);
    if (change === undefined) return;
    if (this.#options.lean === true) this.#changes.beginAt(this.#token);
    else this.#changes.add(change);
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
      this.#order?.add(record.name);
      mirror?.set(record);
      return { kind: "changed", record };
    }
    if (!this.#records.delete(record.name)) return undefined;
    this.#order?.delete(record.name);
    mirror?.delete(record.name);
    return { kind: "deleted", record };
  }

  /** A token of a record of another kind never comes by: the view is past it when it knows the newest of its own. */
  async #skipForeign(token: number, endsBefore: (last: number) => void): Promise<void> {
    const { log, filter } = this.#options;
    const last = await log.lastSequence();
    if (last < token) return endsBefore(last);
    const newest = await log.read(filter);
    if ((newest?.sequence ?? 0) <= this.#token && this.#token < token) this.#token = token;
    this.#arrivals.reached(this.#token);
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
