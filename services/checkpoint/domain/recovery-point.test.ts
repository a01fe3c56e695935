import { expect, test } from "vitest";
import { isDue, isLate, type Standing } from "./recovery-point.ts";

const minuteMs = 60_000;
const at = (minutes: number) => new Date(minutes * minuteMs);
const standing = (differs: Partial<Standing>): Standing => ({
  ...{ pointTime: undefined, since: at(0), attemptTime: undefined, hasFailed: false },
  ...differs,
});

test("the first point is due at once, the next an interval after the last began", () => {
  expect(isDue(standing({}), at(0), 15 * minuteMs)).toBe(true);
  const taken = standing({ attemptTime: at(10), pointTime: at(10) });
  expect(isDue(taken, at(24), 15 * minuteMs)).toBe(false);
  expect(isDue(taken, at(25), 15 * minuteMs)).toBe(true);
});

test("one that failed is tried again after a minute", () => {
  const failed = standing({ attemptTime: at(10), hasFailed: true });
  expect(isDue(failed, at(10.5), 15 * minuteMs)).toBe(false);
  expect(isDue(failed, at(11), 15 * minuteMs)).toBe(true);
});

test("what began in the future began by a clock that was wrong: the next is due, but not for a little skew", () => {
  const taken = standing({ attemptTime: at(70), pointTime: at(70) });
  expect(isDue(taken, at(10), 15 * minuteMs)).toBe(true);
  expect(isDue(taken, at(69.5), 15 * minuteMs)).toBe(false);
});

test("a point is late when it is older than twice the interval; without one, when points were asked for so long ago", () => {
  expect(isLate(standing({ pointTime: at(10) }), at(40), 15 * minuteMs)).toBe(false);
  expect(isLate(standing({ pointTime: at(10) }), at(41), 15 * minuteMs)).toBe(true);
  expect(isLate(standing({}), at(30), 15 * minuteMs)).toBe(false);
  expect(isLate(standing({}), at(31), 15 * minuteMs)).toBe(true);
});
