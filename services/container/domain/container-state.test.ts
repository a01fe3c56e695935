import { expect, test } from "vitest";
import { refusal } from "./container-state.ts";

const states = ["CREATING", "STOPPED", "RUNNING", "PAUSED", "EXITED", "RESTARTING", "DELETING", "FAILED"];
const allowed = (action: string, force = false) =>
  states.filter((state) => refusal(action, `CONTAINER_STATE_${state}`, force) === undefined).join(" ");

test("what each action needs", () => {
  const actions = ["start", "stop", "kill", "delete", "update", "exec", "logs", "stats"];
  expect(Object.fromEntries(actions.map((action) => [action, allowed(action)]))).toEqual({
    start: "STOPPED RUNNING EXITED RESTARTING",
    stop: "STOPPED RUNNING PAUSED EXITED RESTARTING",
    kill: "RUNNING PAUSED RESTARTING",
    delete: "CREATING STOPPED EXITED DELETING FAILED",
    update: "STOPPED RUNNING PAUSED EXITED RESTARTING",
    exec: "RUNNING",
    logs: "STOPPED RUNNING PAUSED EXITED RESTARTING",
    stats: "RUNNING PAUSED",
  });
  expect(allowed("delete", true)).toBe(states.join(" "));
});

test.each([
  ["exec", "EXITED", "Start it first."],
  ["delete", "RUNNING", "Stop it first, or pass --force to delete it as it is."],
  ["exec", "PAUSED", "Wait until its checkpoint is taken."],
  ["start", "FAILED", "It is not whole: delete it and make it again."],
  ["logs", "CREATING", "Wait until it is made or gone before you read the logs of it."],
])("%s when %s is refused with what to do", (action, state, help) => {
  expect(refusal(action, `CONTAINER_STATE_${state}`)).toEqual({ message: `is ${state.toLowerCase()}`, help });
});
