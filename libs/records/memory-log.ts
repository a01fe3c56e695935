import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { PurgeableLog } from "./compactor.ts";
import type {
  AppendNextOptions,
  AppendOptions,
  FollowedMessage,
  FollowOptions,
  LogMessage,
  OrderedLog,
} from "./log.ts";
import { matchesFilter } from "./subject.ts";
import { Wakeup } from "./wakeup.ts";

export interface MemoryLogOptions {
  /** Older messages of a subject are dropped; 64 if unsaid. */
  readonly maxPerSubject?: number;
  /** True when a reader must not miss a message: `follow` then fails with RESYNC rather than leave one out. */
  readonly complete?: boolean;
}

const DEDUPLICATION_MS = 120_000;

/** A log in memory, for tests and the simulator; keeps every promise of the port. */
export function createMemoryLog(clock: Clock, options: MemoryLogOptions = {}): MemoryLog {
  return new MemoryLog(clock, options);
}

export class MemoryLog implements OrderedLog, PurgeableLog {
  /** Told about every message that was really written. */
  onAppend: ((message: LogMessage) => void) | undefined;
  readonly #clock: Clock;
  readonly #options: MemoryLogOptions;
  readonly #messages = new Map<number, LogMessage>();
  readonly #bySubject = new Map<string, number[]>();
  readonly #ids = new Map<string, { sequence: number; atMs: number }>();
  readonly #appended = new Wakeup();
  #last = 0;
  /** The newest sequence that was dropped. */
  #dropped = 0;

  constructor(clock: Clock, options: MemoryLogOptions = {}) {
    this.#clock = clock;
    this.#options = options;
  }

  async read(subject: string): Promise<LogMessage | undefined> {
    if (/[*>]/.test(subject)) return (await this.newest(subject)).at(-1);
    return this.#messages.get(this.#bySubject.get(subject)?.at(-1) ?? 0);
  }

  async append(subject: string, data: Uint8Array, options: AppendOptions): Promise<number> {
    const newest = this.#bySubject.get(subject)?.at(-1) ?? 0;
    return this.#write({ subject, data }, options.messageId, newest === options.expectedSequence);
  }

  async appendNext(subject: string, data: Uint8Array, options: AppendNextOptions): Promise<number> {
    return this.#write({ subject, data }, options.messageId, this.#last === options.expectedLast);
  }

  async *follow(filter: string, { afterSequence, signal }: FollowOptions): AsyncGenerator<FollowedMessage> {
    let position = afterSequence;
    while (!signal.aborted) {
      this.#refuseGap(position);
      const matching = this.#after(position, filter);
      const woken = this.#appended.next(signal);
      for (const [index, message] of matching.entries()) {
        if (signal.aborted) return;
        position = message.sequence;
        yield { ...message, pending: matching.length - index - 1 };
      }
      if (matching.length === 0) await woken;
    }
  }

  async newest(filter: string): Promise<LogMessage[]> {
    const newest = [...this.#bySubject]
      .filter(([subject]) => matchesFilter(filter, subject))
      .map(([, all]) => all.at(-1));
    return newest
      .map((sequence) => this.#messages.get(sequence ?? 0))
      .filter((message) => message !== undefined)
      .sort((a, b) => a.sequence - b.sequence);
  }

  async lastSequence(): Promise<number> {
    return this.#last;
  }

  async crowded(filter: string, atMost: number): Promise<string[]> {
    const crowded = [...this.#bySubject].filter(([, all]) => all.length > atMost).map(([subject]) => subject);
    return crowded.filter((subject) => matchesFilter(filter, subject));
  }

  async sequencesOf(subject: string): Promise<number[]> {
    return [...(this.#bySubject.get(subject) ?? [])];
  }

  async purge(subject: string, before: number): Promise<void> {
    const all = this.#bySubject.get(subject) ?? [];
    this.#bySubject.set(
      subject,
      all.filter((sequence) => sequence >= before),
    );
    this.#drop(all.filter((sequence) => sequence < before));
  }

  #write(message: Pick<LogMessage, "subject" | "data">, messageId: string | undefined, expected: boolean): number {
    const nowMs = this.#clock.monotonicMs();
    const known = messageId === undefined ? undefined : this.#ids.get(messageId);
    if (known !== undefined && nowMs - known.atMs < DEDUPLICATION_MS) return known.sequence;
    const { subject } = message;
    if (!expected) throw new StillpointError("RECORD_CONFLICT", `${subject} has moved on`);
    const sequence = ++this.#last;
    if (messageId !== undefined) this.#ids.set(messageId, { sequence, atMs: nowMs });
    const written = { ...message, sequence, time: this.#clock.now() };
    this.#messages.set(sequence, written);
    this.#bySubject.set(subject, [...this.#dropOld(this.#bySubject.get(subject) ?? []), sequence]);
    this.onAppend?.(written);
    this.#appended.wake();
    return sequence;
  }

  #after(position: number, filter: string): LogMessage[] {
    const found: LogMessage[] = [];
    for (let sequence = position + 1; sequence <= this.#last; sequence++) {
      const message = this.#messages.get(sequence);
      if (message !== undefined && matchesFilter(filter, message.subject)) found.push(message);
    }
    return found;
  }

  #dropOld(sequences: readonly number[]): readonly number[] {
    const keep = (this.#options.maxPerSubject ?? 64) - 1;
    const dropped = sequences.slice(0, Math.max(0, sequences.length - keep));
    this.#drop(dropped);
    return sequences.slice(dropped.length);
  }

  #drop(sequences: readonly number[]): void {
    for (const sequence of sequences) {
      this.#messages.delete(sequence);
      this.#dropped = Math.max(this.#dropped, sequence);
    }
  }

  #refuseGap(position: number): void {
    const lost = this.#options.complete === true && position > 0 && position < this.#dropped;
    if (lost || position > this.#last) throw new StillpointError("RESYNC", `nothing is kept from ${position} on`);
  }
}
