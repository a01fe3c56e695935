import { expect, test } from "vitest";
import { Growth, secondsUntilFull } from "./growth.ts";

const MINUTE_MS = 60_000;

test("growth is told once it was seen for a minute, over the last hour", () => {
  const growth = new Growth();
  growth.add(0, 1_000);
  expect(growth.bytesPerHour).toBe(0);
  growth.add(MINUTE_MS / 2, 9_000);
  expect(growth.bytesPerHour).toBe(0);
  growth.add(MINUTE_MS, 2_000);
  expect(growth.bytesPerHour).toBe(60_000);
  growth.add(61 * MINUTE_MS, 2_000);
  expect(growth.bytesPerHour).toBe(0);
  growth.add(62 * MINUTE_MS, 0);
  expect(growth.bytesPerHour).toBeLessThan(0);
});

test("a disk that nothing takes is never full", () => {
  expect(secondsUntilFull(7_200, 3_600)).toBe(7_200);
  expect(secondsUntilFull(7_200, 0)).toBeUndefined();
  expect(secondsUntilFull(7_200, -5)).toBeUndefined();
});
