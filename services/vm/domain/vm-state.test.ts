import { describe, expect, test } from "vitest";
import { type Action, happened, refusal } from "./vm-state.ts";

const states = ["CREATING", "STOPPED", "RUNNING", "PAUSED", "CRASHED", "DELETING", "FAILED"];
const actions: readonly Action[] = ["start", "stop", "reboot", "pause", "resume", "delete", "exec"];

const table = (force: boolean) =>
  Object.fromEntries(
    actions.map((action) => [
      action,
      states.filter((state) => refusal(action, `VM_STATE_${state}`, force) === undefined).join(" "),
    ]),
  );

test("what each action needs", () => {
  expect(table(false)).toEqual({
    start: "STOPPED RUNNING CRASHED",
    stop: "STOPPED RUNNING CRASHED",
    reboot: "RUNNING",
    pause: "RUNNING PAUSED",
    resume: "RUNNING PAUSED",
    delete: "CREATING STOPPED CRASHED DELETING FAILED",
    exec: "RUNNING",
  });
});

test("what force adds", () => {
  expect(table(true)).toMatchObject({
    stop: "STOPPED RUNNING PAUSED CRASHED",
    reboot: "RUNNING PAUSED",
    delete: "CREATING STOPPED RUNNING PAUSED CRASHED DELETING FAILED",
    start: "STOPPED RUNNING CRASHED",
  });
});

describe("a refusal says what to do", () => {
  const cases: readonly [Action, string, string][] = [
    ["start", "PAUSED", "Resume it first."],
    ["exec", "STOPPED", "Start it first."],
    ["delete", "RUNNING", "Stop it first, or pass --force to delete it as it is."],
    ["stop", "PAUSED", "Resume it first, or pass --force to stop it as it is."],
    ["start", "FAILED", "It is not whole: delete it and make it again."],
  ];
  for (const [action, state, help] of cases) {
    test(`${action} when ${state}`, () => {
      expect(refusal(action, `VM_STATE_${state}`)).toEqual({ message: `is ${state.toLowerCase()}`, help });
    });
  }
});

describe("a change of state is an event", () => {
  const cases: readonly [string, string, string | undefined][] = [
    ["STOPPED", "RUNNING", "started"],
    ["PAUSED", "RUNNING", "resumed"],
    ["RUNNING", "PAUSED", "paused"],
    ["RUNNING", "STOPPED", "stopped"],
    ["RUNNING", "CRASHED", "crashed"],
    ["CREATING", "STOPPED", undefined],
    ["RUNNING", "RUNNING", undefined],
  ];
  for (const [from, to, event] of cases) {
    test(`${from} to ${to}: ${event ?? "none"}`, () => {
      expect(happened(`VM_STATE_${from}`, `VM_STATE_${to}`)).toBe(event);
    });
  }
});
