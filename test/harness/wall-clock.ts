/**
 * Loaded before a program (`node --import`), has its wall clock tell what a file says: wrong by so much, and faster or
 * slower by a factor since then. Only what is asked of Date: no monotonic clock, no timer, no other program.
 */
import { readFileSync } from "node:fs";

/** What such a file has, as JSON. */
export interface WallClock {
  readonly aheadMs: number;
  /** How fast it goes; 1 is right, -1 backwards. */
  readonly rate: number;
  /** Since when, in the true time. */
  readonly sinceMs: number;
}

const LOOK_MS = 50;

const path = process.env.STILLPOINT_CLOCK_FILE;
if (path !== undefined) shift(path);

function shift(file: string): void {
  const TrueDate = Date;
  let clock: WallClock | undefined;
  const look = () => {
    try {
      clock = JSON.parse(readFileSync(file, "utf8")) as WallClock;
    } catch {
      // Being written, or not there: it goes on as before.
    }
  };
  look();
  setInterval(look, LOOK_MS).unref();
  const now = () => {
    const trueMs = TrueDate.now();
    return clock === undefined ? trueMs : trueMs + clock.aheadMs + (trueMs - clock.sinceMs) * (clock.rate - 1);
  };
  globalThis.Date = new Proxy(TrueDate, {
    construct: (target, args, wanted) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, wanted) as object,
    apply: () => new TrueDate(now()).toString(),
    get: (target, name) => (name === "now" ? () => Math.floor(now()) : (Reflect.get(target, name) as unknown)),
  });
}
