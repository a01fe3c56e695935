import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { GuestAgentChannel } from "../qemu/guest-agent.ts";
import { judge, timelineOf, whileFrozen } from "./freeze.ts";
import { hasFailed, parseReport } from "./writers-report.ts";

test.each([
  ["as many were thawed as were frozen, in time", { count: 2, thawCount: 2, windowMs: 300 }, undefined],
  ["one was thawed before", { count: 2, thawCount: 1, windowMs: 300 }, "thaw.count_mismatch"],
  ["the window passed", { count: 2, thawCount: 2, windowMs: 10_001 }, "freeze.window_exceeded"],
  ["the thaw was not answered", { count: 2, thawCount: -1, windowMs: 300 }, "agent.unresponsive"],
])("%s", (_what, window, reason) => {
  expect(judge(window, 10_000)?.reason).toBe(reason);
});

test("the timeline says when the guest stood still, and only if it did", () => {
  const [askedAt, frozenAt, thawedAt] = [1, 2, 3].map((ms) => new Date(ms)) as [Date, Date, Date];
  expect(timelineOf({ askedAt, frozenAt, thawedAt })).toEqual([
    { event: "freeze-asked", time: "1970-01-01T00:00:00.001Z" },
    { event: "frozen", time: "1970-01-01T00:00:00.002Z" },
    { event: "thawed", time: "1970-01-01T00:00:00.003Z" },
  ]);
  expect(timelineOf({ askedAt, thawedAt }).map(({ event }) => event)).toEqual(["freeze-asked"]);
});

test("a writer that was held and let go, or has nothing to hold, has not failed; any other has", () => {
  const failed = ["thawed", "absent", "frozen", "failed", "???"].filter((state) =>
    hasFailed({ name: "w", state, ms: 1 }),
  );
  expect(failed).toEqual(["frozen", "failed", "???"]);
});

test("a report is read when it is one", () => {
  const writers = [{ name: "redis", state: "thawed", ms: 30 }];
  expect(parseReport(JSON.stringify({ version: 1, writers }))).toEqual(writers);
});

test.each(["{", "[]", '{"version":2,"writers":[]}', '{"version":1,"writers":[{"name":1}]}'])(
  "%s is no report",
  (text) => {
    expect(parseReport(text)).toBeUndefined();
  },
);

test("a guest that does not answer its thaw is thawed later, also when the guard has gone", async () => {
  const thaws = ["silent", "silent", "thawed"];
  let guards = 1;
  const guest = new GuestAgentChannel("/nowhere");
  const call = async (command: string) => {
    if (command === "guest-fsfreeze-thaw" && thaws.shift() === "silent") throw new Error("no answer");
    return 1;
  };
  Object.assign(guest, { call });
  const guard = {
    arm: async () => {
      if (guards-- < 1) throw new Error("there is no guard");
    },
    disarm: () => undefined,
    rest: () => undefined,
    goOn: () => undefined,
    isArmed: () => true,
  };
  const request = { uid: "vm-1", guest, agentSocket: "", windowMs: 1_000 };
  let owed: Promise<void> | undefined;
  const window = await whileFrozen(
    { guard, clock: systemClock },
    request,
    async () => undefined,
    (thaw) => {
      owed = thaw;
    },
  );
  expect(window.refusal?.reason).toBe("agent.unresponsive");
  await owed;
  expect(thaws).toEqual([]);
});
