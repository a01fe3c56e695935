import { expect, test } from "vitest";
import { skewOf, writeGroupReceipt } from "./group-receipt.ts";

const at = (ms: number) => new Date(ms).toISOString();
const timeline = (times: Record<string, number>) =>
  Object.entries(times).map(([event, ms]) => ({ event, time: at(ms) }));
const member = (vm: string, receipt: object) => ({
  ...{ vm, host: "hosts/n1", checkpoint: `${vm}/checkpoints/c` },
  receipt: { ...receipt },
});
const verdict = { groupCheckpointUid: "g", group: "shop", requestedType: "production", fellBack: false } as const;

const web = member("web", {
  ...{ kind: "production", consistency: "application", digest: "sha256:1" },
  timeline: timeline({ "freeze-asked": 5, frozen: 10, taken: 42, thawed: 90 }),
});
const db = member("db", {
  ...{ kind: "production", consistency: "filesystem", digest: "sha256:2" },
  timeline: timeline({ frozen: 30, taken: 45, thawed: 70 }),
});
const off = member("off", { kind: "production", consistency: "offline", timeline: timeline({ taken: 500 }) });

test("names its members' receipts, and tells how far apart they were taken and how long they stood together", () => {
  expect(writeGroupReceipt(verdict, [web, db, off])).toMatchObject({
    ...{ version: 1, skewMs: 3, frozenTogetherMs: 40, reason: "" },
    members: [
      { vm: "web", receipt: "sha256:1", frozen: at(10), taken: at(42), thawed: at(90) },
      { vm: "db", consistency: "filesystem" },
      { vm: "off", taken: null },
    ],
  });
});

test("a container stands still while it is paused", () => {
  const paused = timeline({ quiesced: 31, paused: 35, taken: 44, unpaused: 60, released: 200 });
  const container = member("store", { consistency: "application", timeline: paused });
  expect(writeGroupReceipt(verdict, [web, container])).toMatchObject({ skewMs: 2, frozenTogetherMs: 25 });
});

test("members that did not stand still together say so", () => {
  const late = member("late", { consistency: "filesystem", timeline: timeline({ frozen: 95, taken: 96, thawed: 99 }) });
  expect(writeGroupReceipt(verdict, [web, late]).frozenTogetherMs).toBe(0);
  expect(writeGroupReceipt(verdict, [web, off]).frozenTogetherMs).toBeNull();
});

test("clocks of several hosts prove nothing of what stood still together", () => {
  expect(writeGroupReceipt(verdict, [web, db]).clocks).toBe("one");
  const elsewhere = { ...db, host: "hosts/n2" };
  expect(writeGroupReceipt(verdict, [web, elsewhere])).toMatchObject({ clocks: "several", frozenTogetherMs: null });
});

test("RAM and disks are of the instant at which the VM stood", () => {
  const ram = (ms: number) =>
    member("x", { consistency: "saved-state", timeline: timeline({ stop: ms, resume: ms + 9 }) });
  expect(skewOf([ram(100), ram(125)])).toBe(25);
  expect(skewOf([ram(100)])).toBe(0);
});
