import { Host, Ledger } from "#contracts/scheduler/v1/scheduler";
import { decodeRecord, type LogMessage, openNats, openStreams } from "#libs/records";
import { eventually } from "#libs/testing";
import { InvariantViolation } from "./invariant-violation.ts";

const terminal = new Set(["succeeded", "failed", "cancelled", "needs_attention"]);

interface SeenOperation {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly target: string;
  readonly claim?: { readonly worker: string; readonly epoch?: number };
}

interface SeenRecord {
  readonly version: number;
  readonly deleted: boolean;
  readonly operation: string | undefined;
  readonly body: unknown;
}

interface SeenEvent {
  readonly recsequence: number;
  readonly recindex: number;
  readonly type: string;
}

const kept = 400;

/**
 * Every message of the logs from its start on, as a reader beside the services gets them, and what must be true of
 * them whatever fails: invariants I3, I4, I8, I9, I10 and I12 of our fault tests.
 */
export class LogsHistory implements AsyncDisposable {
  readonly violations: string[] = [];
  readonly operations = new Map<string, SeenOperation>();
  readonly records = new Map<string, SeenRecord>();
  /** The newest lines of what was written, for whoever looks into a failure. */
  readonly lines: string[] = [];
  /** How many messages were seen. */
  readonly seen = { records: 0, operations: 0, events: 0, takeovers: 0, claims: 0, fullest: 0 };
  readonly #expectedEvents: { readonly key: string; readonly what: string }[] = [];
  readonly #events: string[] = [];
  readonly #epochs = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #closing = new AsyncDisposableStack();
  #lastOrigin = 0;
  #newest: () => Promise<{ records: number; operations: number; events: number }> = () =>
    Promise.reject(new Error("not open"));
  readonly #positions = { records: 0, operations: 0, events: 0 };

  static async follow(natsUrl: string): Promise<LogsHistory> {
    const history = new LogsHistory();
    const nats = await openNats({ url: natsUrl, name: "history" });
    history.#closing.defer(() => nats.close());
    const { rec, ops, evt } = await openStreams(nats);
    const { signal } = history.#stop;
    const follow = async (log: typeof rec, filter: string, take: (message: LogMessage) => void) => {
      for await (const message of log.follow(filter, { afterSequence: 0, signal })) take(message);
    };
    const following = Promise.allSettled([
      follow(rec, "rec.>", (message) => history.#takeRecord(message)),
      follow(ops, "op.>", (message) => history.#takeOperation(message)),
      follow(evt, "evt.>", (message) => history.#takeEvent(message)),
    ]);
    history.#closing.defer(async () => {
      history.#stop.abort();
      await following;
    });
    history.#newest = async () => ({
      records: (await rec.read("rec.>"))?.sequence ?? 0,
      operations: (await ops.read("op.>"))?.sequence ?? 0,
      events: (await evt.read("evt.>"))?.sequence ?? 0,
    });
    return history;
  }

  /** Waits until it has seen all that was written and each event has come of its record; fails with what is wrong. */
  async check(): Promise<void> {
    await eventually(
      async () => {
        const { records, operations, events } = await this.#newest();
        const { records: r, operations: o, events: e } = this.#positions;
        return r >= records && o >= operations && e >= events && this.#events.length >= this.#expectedEvents.length;
      },
      { deadlineMs: 20_000, everyMs: 100 },
    ).catch(() => this.violations.push(`events: ${this.#events.length} of ${this.#expectedEvents.length} came`));
    for (const [index, { key, what }] of this.#expectedEvents.entries()) {
      if (this.#events[index] === key) continue;
      this.violations.push(`I9: event ${index} should be ${key} (${what}), and is ${this.#events[index]}`);
      break;
    }
    if (this.violations.length > 0)
      throw new InvariantViolation(`the logs are not sound:\n  ${this.violations.join("\n  ")}`);
  }

  /** The accepted operations that are not there, or have not ended (I2). */
  unfinished(accepted: Iterable<string>): string[] {
    return [...accepted].filter(
      (name) => !terminal.has(this.operations.get(name.replace("operations/", ""))?.state ?? ""),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#closing.disposeAsync();
  }

  #takeRecord(message: LogMessage): void {
    this.seen.records++;
    this.#positions.records = message.sequence;
    const { name, previous, operation, events, body, deleted = false } = decodeRecord(message.data);
    const before = this.records.get(name)?.version ?? 0;
    if (previous !== before)
      this.violations.push(`I8: ${name} #${message.sequence} follows ${previous}, not ${before}`);
    this.#checkHolder(name, operation);
    this.records.set(name, { version: message.sequence, deleted, operation, body });
    this.#note(`record #${message.sequence} ${name} ${deleted ? "deleted" : `held by ${operation ?? "nobody"}`}`);
    for (const [index, { aggregate, happened }] of events.entries()) {
      this.#expectedEvents.push({ key: `${message.sequence}.${index}`, what: `${aggregate} ${happened}` });
    }
    if (name.endsWith("/ledger") && !deleted) this.#checkLedger(Ledger.fromJSON(body));
  }

  /** A target goes from hand to hand only when the operation before has ended. */
  #checkHolder(name: string, holder: string | undefined): void {
    const before = this.records.get(name)?.operation;
    if (before === undefined || holder === undefined || before === holder) return;
    const state = this.operations.get(before)?.state;
    // The log of operations may be read a little later than that of records.
    if (state !== undefined && terminal.has(state)) return;
    this.#note(`${name} went from ${before} (${state}) to ${holder}`);
  }

  #takeOperation({ sequence, data }: LogMessage): void {
    this.seen.operations++;
    this.#positions.operations = sequence;
    const operation = JSON.parse(new TextDecoder().decode(data)) as SeenOperation;
    const { id, state, claim } = operation;
    const before = this.operations.get(id);
    if (before !== undefined && terminal.has(before.state) && state !== before.state) {
      this.violations.push(`I3: ${id} was ${before.state} and became ${state}`);
    }
    this.#checkClaim(operation, before, sequence);
    this.operations.set(id, operation);
    this.#note(`operation #${sequence} ${id} ${state} ${claim?.worker ?? ""} ${operation.target}`);
  }

  #checkClaim({ id, claim }: SeenOperation, before: SeenOperation | undefined, sequence: number): void {
    if (claim === undefined || claim.worker === before?.claim?.worker) return;
    this.seen.claims++;
    if (before?.claim !== undefined) this.seen.takeovers++;
    const highest = this.#epochs.get(id) ?? 0;
    const epoch = claim.epoch ?? sequence;
    if (epoch <= highest) this.violations.push(`I10: ${id} was claimed with epoch ${epoch} after ${highest}`);
    this.#epochs.set(id, epoch);
  }

  #takeEvent({ sequence, data }: LogMessage): void {
    this.seen.events++;
    this.#positions.events = sequence;
    const { recsequence, recindex, type } = JSON.parse(new TextDecoder().decode(data)) as SeenEvent;
    if (type.endsWith(".gap")) this.violations.push(`I9: versions of a record were lost before #${recsequence}`);
    if (recsequence < this.#lastOrigin) this.violations.push(`I9: the event of #${recsequence} came late`);
    this.#lastOrigin = recsequence;
    this.#events.push(`${recsequence}.${recindex}`);
  }

  /** Never more is given out than the host's record says that there is (I12). */
  #checkLedger({ name, reservations }: Ledger): void {
    const host = Host.fromJSON(this.records.get(name.replace("/ledger", ""))?.body ?? {});
    const { cpus: has = 0, memoryBytes: hasMemory = 0 } = host.capacity ?? {};
    const cpus = sum(reservations, ({ requirements }) => requirements?.cpus ?? 0);
    const memory = sum(reservations, ({ requirements }) => requirements?.memoryBytes ?? 0);
    this.seen.fullest = Math.max(this.seen.fullest, cpus / has);
    if (cpus > has) this.violations.push(`I12: ${name} gives out ${cpus} of ${has} CPUs`);
    if (memory > hasMemory) this.violations.push(`I12: ${name} gives out ${memory} of ${hasMemory} bytes of memory`);
  }

  #note(line: string): void {
    this.lines.push(`${new Date().toISOString()} ${line}`);
    if (this.lines.length > 2 * kept) this.lines.splice(0, kept);
  }
}

const sum = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0);
