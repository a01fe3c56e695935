import { describe, expect, test } from "vitest";
import { describeExit, happenings, reasonOf, type Status } from "./status.ts";

const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1_000);
const exit = (exitCode: number, seconds: number) => ({ exitCode, outOfMemory: false, error: "", time: at(seconds) });
const running: Status = {
  state: "CONTAINER_STATE_RUNNING",
  startTime: at(10),
  restarts: 0,
  health: "CONTAINER_HEALTH_UNSPECIFIED",
};
const created: Status = { ...running, state: "CONTAINER_STATE_CREATING", startTime: undefined };
const named = (before: Status, after: Status) => happenings(before, after).map(({ happened }) => happened);

describe("what has happened between two looks", () => {
  const cases: readonly [string, Status, Status, readonly string[]][] = [
    ["nothing", running, running, []],
    ["it was made", created, { ...created, state: "CONTAINER_STATE_STOPPED" }, []],
    ["it was made and started", created, running, ["started"]],
    [
      "it was started and ended at once",
      created,
      { ...running, state: "CONTAINER_STATE_EXITED", lastExit: exit(1, 11) },
      ["started", "exited"],
    ],
    [
      "it ended and was started again",
      running,
      { ...running, startTime: at(21), restarts: 1, lastExit: exit(1, 20) },
      ["exited", "restarted"],
    ],
    [
      "it ended, and is to be started again",
      running,
      { ...running, state: "CONTAINER_STATE_RESTARTING", lastExit: exit(1, 20) },
      ["exited"],
    ],
    ["it was stopped", running, { ...running, state: "CONTAINER_STATE_STOPPED", lastExit: exit(143, 20) }, ["stopped"]],
    [
      "it was stopped when it had ended already",
      { ...running, state: "CONTAINER_STATE_EXITED", lastExit: exit(1, 20) },
      { ...running, state: "CONTAINER_STATE_STOPPED", lastExit: exit(1, 20) },
      ["stopped"],
    ],
    ["it was held still", running, { ...running, state: "CONTAINER_STATE_PAUSED" }, ["paused"]],
    ["it goes on", { ...running, state: "CONTAINER_STATE_PAUSED" }, running, ["resumed"]],
    ["its check fails", running, { ...running, health: "CONTAINER_HEALTH_UNHEALTHY" }, ["unhealthy"]],
    ["the engine has lost it", running, { ...running, state: "CONTAINER_STATE_FAILED" }, ["lost"]],
    ["nothing, but its start is known better", running, { ...running, startTime: at(10.2) }, []],
    [
      "it ended, and its start is known better by now",
      running,
      { ...running, state: "CONTAINER_STATE_RESTARTING", startTime: at(10.2), lastExit: exit(1, 10.5) },
      ["exited"],
    ],
    [
      "its next life ended as the one before, and at once",
      { ...running, startTime: at(20.3), restarts: 1, lastExit: exit(1, 20) },
      { ...running, state: "CONTAINER_STATE_RESTARTING", startTime: at(20.3), restarts: 1, lastExit: exit(1, 20.6) },
      ["exited"],
    ],
    [
      "nothing, but its end is known better",
      { ...running, state: "CONTAINER_STATE_EXITED", lastExit: exit(1, 20) },
      { ...running, state: "CONTAINER_STATE_EXITED", lastExit: exit(1, 20.3) },
      [],
    ],
    [
      "it ended and was started by somebody",
      running,
      { ...running, startTime: at(21), lastExit: exit(1, 20) },
      ["exited", "started"],
    ],
    ["its check is asked first", running, { ...running, health: "CONTAINER_HEALTH_STARTING" }, []],
  ];
  for (const [name, before, after, expected] of cases) {
    test(name, () => expect(named(before, after)).toEqual(expected));
  }

  test("an end is told with why, and whether it is started again", () => {
    const after = {
      ...running,
      state: "CONTAINER_STATE_RESTARTING",
      lastExit: { ...exit(137, 20), outOfMemory: true },
    };
    expect(happenings(running, after)).toEqual([
      {
        happened: "exited",
        data: {
          exitCode: 137,
          outOfMemory: true,
          reason: "killed: out of memory",
          signal: "SIGKILL",
          willRestart: true,
        },
        time: at(20),
      },
    ]);
  });
});

test("an end in words", () => {
  expect(describeExit(exit(3, 0))).toBe("exited with 3");
  expect(describeExit(exit(0, 0))).toBe("exited with 0");
  expect(describeExit(exit(143, 0))).toBe("ended by SIGTERM (143)");
  expect(describeExit(exit(200, 0))).toBe("exited with 200");
  expect(describeExit({ ...exit(137, 0), outOfMemory: true })).toBe("killed: out of memory");
  expect(describeExit({ ...exit(127, 0), error: "no such program" })).toBe("exited with 127: no such program");
  expect(reasonOf({ ...running, state: "CONTAINER_STATE_STOPPED", lastExit: exit(3, 0) })).toBe("");
});
