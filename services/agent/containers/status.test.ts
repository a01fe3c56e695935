import { expect, test } from "vitest";
import { ContainerHealth, ContainerState, RestartPolicy_Mode } from "#contracts/container/v1/container";
import type { ContainerStatus } from "#contracts/host/v1/agent";
import type { EngineEvent, SeenContainer } from "../container-engine.ts";
import { afterEvent, asSeen, differs, type Intent, isStart, NEVER_STARTED, reasonOf, started } from "./status.ts";

const { RUNNING, RESTARTING, EXITED, STOPPED, PAUSED } = ContainerState;
const uid = "ctr-1";
const at = (ms: number) => ({ uid, time: ms * 1e6 });
const policy = (mode: Intent["restart"]["mode"], maxRetries = 0): Intent => ({
  isStopped: false,
  restart: { mode, maxRetries },
  hasHealthCheck: false,
  isRestartedHere: false,
});
const never = policy(RestartPolicy_Mode.NO);
const running = started(NEVER_STARTED, new Date(1_000), never);
const end = (exitCode: number): EngineEvent => ({ ...at(60_000), kind: "ended", exitCode });

test.each<[string, Intent, number, number, ContainerStatus["state"]]>([
  ["never", never, 1, 0, EXITED],
  ["always", policy(RestartPolicy_Mode.ALWAYS), 0, 9, RESTARTING],
  ["always, stopped by its owner", { ...policy(RestartPolicy_Mode.ALWAYS), isStopped: true }, 0, 0, STOPPED],
  ["on failure, ended well", policy(RestartPolicy_Mode.ON_FAILURE), 0, 0, EXITED],
  ["on failure, failed", policy(RestartPolicy_Mode.ON_FAILURE), 1, 99, RESTARTING],
  ["on failure twice, failed once more", policy(RestartPolicy_Mode.ON_FAILURE, 2), 1, 2, EXITED],
])("started again %s", (_policy, intent, exitCode, restarts, state) => {
  const status = afterEvent({ ...running, restarts }, end(exitCode), intent, false);
  expect(status).toMatchObject({ state, lastExit: { exitCode, outOfMemory: false, time: new Date(60_000) } });
});

test("a start by its policy counts, one by its owner does not", () => {
  const restarting = afterEvent(running, end(1), policy(RestartPolicy_Mode.ALWAYS), false);
  const again = afterEvent(restarting, { ...at(61_000), kind: "started" }, policy(RestartPolicy_Mode.ALWAYS), false);
  expect(again).toMatchObject({ state: RUNNING, restarts: 1, startTime: new Date(61_000) });
  expect(reasonOf(again)).toBe("restarted by its policy (1): exited with 1");
  const exited = afterEvent(running, end(1), never, false);
  expect(afterEvent(exited, { ...at(61_000), kind: "started" }, never, false)).toMatchObject({ restarts: 0 });
});

test.each<[ContainerStatus, string]>([
  [afterEvent(running, end(3), never, false), "exited with 3"],
  [afterEvent(running, end(137), never, true), "killed: out of memory"],
  [afterEvent(running, end(0), never, true), "exited with 0"],
  [afterEvent(running, end(143), never, false), "ended by signal 15"],
  [{ ...running, health: ContainerHealth.UNHEALTHY }, "its health check fails"],
  [running, ""],
])("%# is told as %j", (status, reason) => {
  expect(reasonOf(status)).toBe(reason);
});

const seen: SeenContainer = {
  ...{ id: "", state: "running", imageId: "", exitCode: 0, outOfMemory: false, error: "", restarts: 0, pid: 1 },
  ...{ startTime: new Date(1_200), endTime: undefined, health: undefined },
};

test("a look that shows what is known already tells nothing new", () => {
  expect(differs(running, asSeen(running, seen, never))).toBe(false);
  const exited = afterEvent(running, end(3), never, false);
  const look = asSeen(exited, { ...seen, state: "exited", exitCode: 3, endTime: new Date(60_300) }, never);
  expect(differs(exited, look)).toBe(false);
});

test("a look tells what nobody saw", () => {
  const look = asSeen(running, { ...seen, state: "exited", exitCode: 7, endTime: new Date(90_000) }, never);
  expect(look).toMatchObject({ state: EXITED, lastExit: { exitCode: 7, time: new Date(90_000) } });
  expect(differs(running, look)).toBe(true);
  const other = asSeen(running, { ...seen, restarts: 4, startTime: new Date(80_000) }, never);
  expect(other).toMatchObject({ state: RUNNING, restarts: 4 });
  expect(differs(running, other)).toBe(true);
  expect(asSeen(running, { ...seen, state: "paused" }, never)).toMatchObject({ state: PAUSED });
});

test("of one that is not the engine's to restart, the engine knows neither how often nor whether it is about to", () => {
  const intent = { ...policy(RestartPolicy_Mode.ALWAYS), isRestartedHere: true };
  const ended = { ...seen, state: "exited" as const, exitCode: 1, endTime: new Date(90_000) };
  expect(asSeen({ ...running, restarts: 3 }, ended, intent)).toMatchObject({ state: RESTARTING, restarts: 3 });
  expect(asSeen(running, ended, { ...intent, isStopped: true })).toMatchObject({ state: STOPPED });
});

test("a start by its owner is told from one by its policy, and from an end that came with it", () => {
  expect(isStart(NEVER_STARTED, running)).toBe(true);
  expect(isStart(running, running)).toBe(false);
  const restarting = afterEvent(running, end(1), policy(RestartPolicy_Mode.ALWAYS), false);
  expect(isStart(restarting, afterEvent(restarting, { ...at(61_000), kind: "started" }, never, false))).toBe(false);
  const ended = afterEvent(running, end(1), never, false);
  expect(isStart(ended, { ...running, lastExit: ended.lastExit })).toBe(true);
  expect(isStart(NEVER_STARTED, { ...running, lastExit: ended.lastExit })).toBe(false);
});
