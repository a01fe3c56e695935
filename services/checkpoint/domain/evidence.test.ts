import { expect, test } from "vitest";
import { judgeFreeze, momentsOf } from "./evidence.ts";

const freeze = (fields: object) => ({ freeze: { count: 2, thawCount: 2, writers: [], ...fields } });

test("equal counts without writers are file-system-consistent", () => {
  expect(judgeFreeze(freeze({}))).toEqual({ proven: true, consistency: "filesystem" });
});

test("writers that confirmed make it application-consistent", () => {
  const writers = [{ name: "redis", state: "thawed", ms: 4 }];
  expect(judgeFreeze(freeze({ writers }))).toEqual({ proven: true, consistency: "application" });
});

test("writers whose applications do not run confirm nothing", () => {
  const writers = [{ name: "sqlite", state: "absent", ms: 1 }];
  expect(judgeFreeze(freeze({ writers }))).toEqual({ proven: true, consistency: "filesystem" });
});

test.each([
  ["nothing was frozen", freeze({ count: 0, thawCount: 0 }), "freeze.none_frozen"],
  ["there is no evidence", {}, "freeze.none_frozen"],
  ["fewer were thawed than frozen", freeze({ thawCount: 1 }), "thaw.count_mismatch"],
  ["a writer failed", freeze({ writers: [{ name: "redis", state: "failed" }] }), "hook.failed"],
])("nothing is claimed when %s", (_, evidence, code) => {
  expect(judgeFreeze(evidence)).toMatchObject({ proven: false, cause: { code } });
});

test("the moments of freeze and thaw are found in the timeline", () => {
  const timeline = [
    { event: "frozen", time: "2026-03-01T09:05:00.100Z" },
    { event: "thawed", time: "2026-03-01T09:05:00.300Z" },
  ];
  expect(momentsOf({ timeline })).toEqual([
    { happened: "frozen", time: "2026-03-01T09:05:00.100Z" },
    { happened: "thawed", time: "2026-03-01T09:05:00.300Z" },
  ]);
  expect(momentsOf({})).toEqual([]);
});

test("a container that stood still is whole; at rest with a quiesce command that ended well", () => {
  const pause = (quiesce: object | null) => judgeFreeze({ pause: { pauseMs: 80, windowMs: 10_000, quiesce } });
  expect(pause({ exitCode: 0 })).toEqual({ proven: true, consistency: "application" });
  expect(pause(null)).toMatchObject({ consistency: "filesystem", cause: { code: "quiesce.absent" } });
  expect(pause({ exitCode: null })).toMatchObject({ proven: false, cause: { code: "quiesce.failed" } });
});
