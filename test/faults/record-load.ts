import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import { appendSurely, type LogMessage, openNats, openStreams, type Streams } from "#libs/records";

/** So many writes has a subject: the compactor leaves as many alone. */
const WRITES = 8;
const PATIENCE_MS = 60_000;

interface Written {
  readonly subject: string;
  readonly sequence: number;
  readonly expected: number;
}

/**
 * Several writers that race for the same records by compare-and-set, as services do, and keep a ledger of what was
 * acknowledged. A record begins a new subject after 8 writes.
 */
export class RecordLoad implements AsyncDisposable {
  readonly #streams: Streams;
  readonly #close: () => Promise<void>;
  readonly #ledger: Written[] = [];
  readonly #stopped = new AbortController();
  readonly #writers: Promise<void>[] = [];
  #conflicts = 0;
  #lastAckMs = performance.now();
  #longestGapMs = 0;

  private constructor(streams: Streams, close: () => Promise<void>) {
    this.#streams = streams;
    this.#close = close;
  }

  static async start(natsUrl: string, writers = 3): Promise<RecordLoad> {
    const nats = await openNats({ url: natsUrl, name: "record-load" });
    const load = new RecordLoad(await openStreams(nats), () => nats.close());
    for (let index = 0; index < writers; index++) load.#writers.push(load.#write(index));
    return load;
  }

  get acknowledged(): number {
    return this.#ledger.length;
  }

  get conflicts(): number {
    return this.#conflicts;
  }

  /** The longest time without an acknowledgement since the last call, in milliseconds. */
  takeLongestGapMs(): number {
    const gap = Math.max(this.#longestGapMs, performance.now() - this.#lastAckMs);
    this.#longestGapMs = 0;
    return Math.round(gap);
  }

  /** Stops writing. Fails when a writer gave up. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await Promise.all(this.#writers);
  }

  /** What is wrong with the log: acknowledged writes that are gone, links of chains that do not fit; empty when it is whole. */
  async violations(): Promise<string[]> {
    const subjects = [...new Set(this.#ledger.map(({ subject }) => subject))];
    const kept = new Map<string, LogMessage[]>();
    const { rec } = this.#streams;
    const signal = new AbortController();
    const end = await rec.lastSequence();
    for await (const message of rec.follow("rec.faults.*", { afterSequence: 0, signal: signal.signal })) {
      kept.set(message.subject, [...(kept.get(message.subject) ?? []), message]);
      if (message.pending === 0 || message.sequence >= end) signal.abort();
    }
    return subjects.flatMap((subject) => this.#violationsOf(subject, kept.get(subject) ?? []));
  }

  #violationsOf(subject: string, messages: readonly LogMessage[]): string[] {
    const found = new Set(messages.map(({ sequence }) => sequence));
    const lost = this.#ledger.filter((written) => written.subject === subject && !found.has(written.sequence));
    const broken = messages.filter((message, index) => expectedOf(message) !== (messages[index - 1]?.sequence ?? 0));
    return [
      ...lost.map(({ sequence }) => `${subject}: the acknowledged write ${sequence} is lost`),
      ...broken.map(
        (message) => `${subject}: ${message.sequence} followed on ${expectedOf(message)}, which was not the last`,
      ),
    ];
  }

  async #write(writer: number): Promise<void> {
    for (let round = 0; !this.#stopped.signal.aborted; round++) {
      // All write the same subjects in the same order.
      const subject = `rec.faults.r${round}`;
      for (let count = 0; count < WRITES && !this.#stopped.signal.aborted; )
        count = await this.#append(subject, writer);
      await sleep(20);
    }
  }

  /** Gives how many writes the subject has at least. */
  async #append(subject: string, writer: number): Promise<number> {
    const last = await this.#read(subject);
    const count = last === undefined ? 0 : countOf(last);
    if (count >= WRITES) return count;
    const expected = last?.sequence ?? 0;
    const data = Buffer.from(JSON.stringify({ expected, count: count + 1, writer, id: crypto.randomUUID() }));
    const write = { subject, data, expectedSequence: expected, messageId: crypto.randomUUID() };
    try {
      // Without end: a log whose disk is full is given up at once by whoever is in a hurry.
      const patience = { forMs: Number.POSITIVE_INFINITY, signal: AbortSignal.timeout(PATIENCE_MS) };
      const sequence = await appendSurely(this.#streams.rec, write, { clock: systemClock, ...patience });
      this.#acknowledge({ subject, sequence, expected });
      return count + 1;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      this.#conflicts++;
      return count;
    }
  }

  async #read(subject: string): Promise<LogMessage | undefined> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this.#streams.rec.read(subject);
      } catch (error) {
        if (performance.now() > end) throw error;
      }
      await sleep(100);
    }
  }

  #acknowledge(written: Written): void {
    this.#ledger.push(written);
    const now = performance.now();
    this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastAckMs);
    this.#lastAckMs = now;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await Promise.allSettled(this.#writers);
    await this.#close();
  }
}

const bodyOf = ({ data }: LogMessage) =>
  JSON.parse(Buffer.from(data).toString()) as { expected: number; count: number };
const expectedOf = (message: LogMessage): number => bodyOf(message).expected;
const countOf = (message: LogMessage): number => bodyOf(message).count;
