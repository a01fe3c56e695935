import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Due, type DueDecision, decideDue, graceMs, type Timetable } from "./due.ts";

const minuteMs = 60_000;
const start = Date.parse("2026-03-01T03:00:00Z");

/** Due every ten minutes from the epoch on, with the same jitter each. */
function tenMinutely(jitterMs = 0): Timetable {
  const period = 10 * minuteMs;
  const dueAt = (time: number): Due => ({ dueTime: new Date(time), runTime: new Date(time + jitterMs) });
  return {
    next: (after) => dueAt((Math.floor(after.getTime() / period) + 1) * period),
    newest: (upTo) => dueAt(Math.floor((upTo.getTime() - jitterMs) / period) * period),
  };
}

const first = (jitterMs = 0): Due => ({ dueTime: new Date(start), runTime: new Date(start + jitterMs) });
const after = (ms: number) => new Date(start + ms);
const decide = (ms: number, { skipMissed = false, jitterMs = 0 } = {}) => {
  const decision = decideDue(first(jitterMs), after(ms), { timetable: tenMinutely(jitterMs), skipMissed });
  const minutes = (time: Date | undefined) => time && (time.getTime() - start) / minuteMs;
  return (
    decision && {
      run: minutes(decision.run),
      next: minutes(decision.next.dueTime),
      missed: decision.missed && [decision.missed.count, minutes(decision.missed.first), minutes(decision.missed.last)],
    }
  );
};

describe("a run that is due", () => {
  test("does not begin before its time", () => expect(decide(-1)).toBeUndefined());

  test("waits for its jitter", () => {
    expect(decide(5 * minuteMs - 1, { jitterMs: 5 * minuteMs })).toBeUndefined();
    expect(decide(5 * minuteMs, { jitterMs: 5 * minuteMs })).toEqual({ run: 0, next: 10, missed: undefined });
  });

  test("is on time within the grace", () => {
    expect(decide(0)).toEqual({ run: 0, next: 10, missed: undefined });
    expect(decide(graceMs)).toEqual({ run: 0, next: 10, missed: undefined });
  });

  test("is missed after the grace, and made up for", () => {
    expect(decide(graceMs + 1)).toEqual({ run: 0, next: 10, missed: [1, 0, 0] });
    expect(decide(35 * minuteMs)).toEqual({ run: 30, next: 40, missed: [4, 0, 30] });
  });

  test("makes up for those before it when it is on time itself", () => {
    expect(decide(30 * minuteMs)).toEqual({ run: 30, next: 40, missed: [3, 0, 20] });
    expect(decide(30 * minuteMs, { skipMissed: true })).toEqual({ run: 30, next: 40, missed: [3, 0, 20] });
  });

  test("is not made up for when that is not wanted", () => {
    expect(decide(35 * minuteMs, { skipMissed: true })).toEqual({ run: undefined, next: 40, missed: [4, 0, 30] });
  });

  test("what was missed for years is told as so many at least", () => {
    expect(decide(365 * 24 * 60 * minuteMs + 5 * minuteMs)?.missed?.[0]).toBe(5_000);
  });
});

test("however late one looks, each due time is run or missed once, and the next is still to come", () => {
  const looks = fc.array(fc.integer({ min: 1, max: 60 * minuteMs }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(looks, fc.nat(9 * minuteMs), fc.boolean(), (gaps, jitterMs, skipMissed) => {
      const timetable = tenMinutely(jitterMs);
      let [due, now, seen] = [first(jitterMs), start, 0];
      for (const gap of gaps) {
        now += gap;
        const decision = decideDue(due, new Date(now), { timetable, skipMissed });
        if (decision === undefined) continue;
        seen += told(decision);
        due = decision.next;
        expect(due.runTime.getTime()).toBeGreaterThan(now);
      }
      expect(seen).toBe((due.dueTime.getTime() - start) / (10 * minuteMs));
    }),
  );
});

/** How many due times were run or missed; one run that makes up for others is for a missed one itself. */
function told({ run, missed }: DueDecision): number {
  const isOnTime = run !== undefined && (missed === undefined || missed.last < run);
  return (missed?.count ?? 0) + (isOnTime ? 1 : 0);
}
