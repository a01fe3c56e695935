import { expect, test } from "vitest";
import { lasting, StillpointError } from "#libs/errors";
import { Patience } from "./patience.ts";

const away = new StillpointError("UNAVAILABLE", "it does not answer");
const full = new StillpointError("UNAVAILABLE", "its disk is full", { metadata: lasting });

function patience() {
  let now = 0;
  const clock = { now: () => new Date(), monotonicMs: () => now, sleep: async () => undefined };
  const random = { next: () => 0.5, id: () => "" };
  const pass = (ms: number) => {
    now += ms;
  };
  return { pass, patience: new Patience({ attempts: 3, forMs: 60_000 }, 1, { clock, random }) };
}

test("patience ends after so many attempts, or so much time, with longer and longer pauses", () => {
  const { patience: ours, pass } = patience();
  expect([away, away].map((error) => ours.pauseAfter(error))).toEqual([100, 200]);
  expect([ours.isExhausted, ours.isOver(away)]).toEqual([false, false]);
  pass(60_001);
  expect(ours.isOver(away)).toBe(true);
  ours.pauseAfter(away);
  expect(ours.isExhausted).toBe(true);
});

test("what lasts until somebody acts costs none of it, and is looked at every other second", () => {
  const { patience: ours, pass } = patience();
  for (let times = 0; times < 20; times++) {
    expect(ours.isOver(full)).toBe(false);
    expect(ours.pauseAfter(full)).toBeLessThanOrEqual(2_000);
    pass(3_600_000);
  }
  expect(ours.isExhausted).toBe(false);
  pass(-3_600_000);
  expect(ours.isOver(away)).toBe(false);
});
