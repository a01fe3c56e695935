import { expect, test } from "vitest";
import { decideTogether } from "./group-policy.ts";
import type { Decision } from "./policy.ts";

const absent = { code: "agent.absent", detail: "nobody listens" };
const production: Decision = { action: "production" };
const offline: Decision = { action: "offline" };
const standard: Decision = { action: "standard", fellBack: true, cause: absent };
const refuse: Decision = { action: "refuse", cause: absent };
const ofAnother: Decision = { action: "standard", fellBack: true, cause: { code: "group.member_failed", detail: "" } };

const together = (...decisions: Decision[]) => [
  ...decideTogether(new Map(decisions.map((decision, index) => [`vm-${index}`, decision]))).values(),
];

test("all go on as they would when each can", () => {
  expect(together(production, offline, production)).toEqual([production, offline, production]);
  const asked: Decision = { action: "standard", fellBack: false };
  expect(together(asked, offline)).toEqual([asked, offline]);
});

test("one that falls back takes all that run with it, and they say which it was", () => {
  const cause = { code: "group.member_failed", detail: "vm-1: agent.absent: nobody listens" };
  const followed = { action: "standard", fellBack: true, cause };
  expect(together(production, standard, offline, ofAnother)).toEqual([followed, standard, offline, followed]);
});

test("one that was given up for another takes that with it, also when the other could be taken in the end", () => {
  expect(together(production, ofAnother)).toEqual([ofAnother, ofAnother]);
});

test("one that may not be taken otherwise refuses all", () => {
  expect(together(production, refuse).map(({ action }) => action)).toEqual(["refuse", "refuse"]);
});

test("one whose memory cannot be saved does not follow to standard", () => {
  const settled = decideTogether(
    new Map<string, Decision>([
      ["vm-0", production],
      ["vm-1", standard],
    ]),
    new Map([["vm-0", { code: "disk.excluded", detail: "" }]]),
  );
  expect(settled.get("vm-0")).toMatchObject({
    action: "refuse",
    cause: { code: "group.member_failed", detail: expect.stringMatching(/vm-1: agent.absent.*disk.excluded/) },
  });
});
