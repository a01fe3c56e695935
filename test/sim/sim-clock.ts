import type { Clock, Random } from "#libs/clock";

interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

/** Time that stands still until the simulator lets it go on. */
export class SimClock implements Clock {
  #nowMs = 0;
  #timers: Timer[] = [];

  now(): Date {
    return new Date(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const timer = { atMs: this.#nowMs + ms, fire: () => finish(resolve) };
      const abort = () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
        reject(signal?.reason as Error);
      };
      const finish = (done: () => void) => {
        signal?.removeEventListener("abort", abort);
        done();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#timers.push(timer);
    });
  }

  /** Lets time go on, moment by moment, until `done` or until that much time has passed; true when it is done. */
  async runUntil(done: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs;
    for (;;) {
      // All that can happen now happens before the next macrotask.
      await new Promise((resolve) => setImmediate(resolve));
      if (done()) return true;
      const nextMs = this.#timers.reduce((earliest, { atMs }) => Math.min(earliest, atMs), Number.POSITIVE_INFINITY);
      if (nextMs > endMs) return false;
      this.#nowMs = Math.max(this.#nowMs, nextMs);
      for (const timer of this.#takeDue()) timer.fire();
    }
  }

  /** In the order in which they were set. */
  #takeDue(): Timer[] {
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    if (due.length > 0) this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    return due.sort((a, b) => a.atMs - b.atMs);
  }
}

/** Random numbers that one seed decides (mulberry32). */
export class SimRandom implements Random {
  #state: number;
  #ids = 0;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  id(prefix: string): string {
    return `${prefix}-${++this.#ids}`;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
}

/** The clock of one machine: what it says differs from the others', and it goes a little faster or slower. */
export function machineClock(clock: SimClock, random: SimRandom): Clock {
  const aheadMs = random.below(5 * 3_600_000);
  const rate = 1 + (random.next() - 0.5) / 1_000;
  return {
    now: () => new Date(clock.monotonicMs() + aheadMs),
    monotonicMs: () => aheadMs + clock.monotonicMs() * rate,
    sleep: (ms, signal) => clock.sleep(ms / rate, signal),
  };
}
