import { expect, test } from "vitest";
import { defaultDisplayName, longestDisplayName } from "./display-name.ts";

const now = new Date("2026-03-01T09:05:00.999Z");

test("names the workload and the second", () => {
  expect(defaultDisplayName("web-1", now, new Set())).toBe("web-1-2026-03-01T09:05:00Z");
});

test("counts on while the name is taken", () => {
  const taken = new Set(["web-1-2026-03-01T09:05:00Z", "web-1-2026-03-01T09:05:00Z-2"]);
  expect(defaultDisplayName("web-1", now, taken)).toBe("web-1-2026-03-01T09:05:00Z-3");
});

test("fits for the longest id", () => {
  expect(defaultDisplayName("w".repeat(63), now, new Set()).length).toBeLessThanOrEqual(longestDisplayName);
});
