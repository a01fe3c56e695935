import { expect, test } from "vitest";
import { CheckpointReadiness } from "#contracts/vm/v1/vm";
import { judgeReadiness } from "#libs/readiness";
import { typeWords } from "../records/contract-words.ts";
import { type Condition, decideFirst, decideWithoutProduction, diskExcluded, type TakenType } from "./policy.ts";

/** What a host finds of a VM in that condition. */
const found: Readonly<Record<Condition, readonly string[]>> = {
  running: [],
  paused: ["vm.paused"],
  off: ["vm.off"],
  crashed: ["vm.crashed"],
};

const types: readonly TakenType[] = ["production", "production-only", "standard"];
const cases = types.flatMap((type) =>
  (Object.keys(found) as Condition[]).flatMap((condition) =>
    [false, true].flatMap((excludes) =>
      // Only a guest that runs is asked, and so can fail to answer.
      (condition === "running" ? [false, true] : [false]).map((hindered) => ({ type, condition, excludes, hindered })),
    ),
  ),
);

/** What the jobs come to, when nothing fails but what was found. */
function decided({ type, condition, excludes, hindered }: (typeof cases)[number]): string {
  const memory = excludes ? { memory: diskExcluded } : {};
  const first = decideFirst(type, condition, memory);
  const cause = { code: "agent.absent", detail: "" };
  const { action } =
    hindered && first.action === "production" ? decideWithoutProduction(type, cause, memory.memory) : first;
  return action === "refuse" ? "refused" : action;
}

test.each(cases)(
  "what is foretold is what is decided: $type, $condition, disk left out: $excludes, no agent: $hindered",
  (given) => {
    const { type, condition, excludes, hindered } = given;
    const codes = [...found[condition], ...(hindered ? ["agent.absent"] : [])];
    const seen = CheckpointReadiness.fromPartial({ findings: codes.map((code) => ({ code })) });
    const foretold = judgeReadiness(seen, typeWords[type], excludes);
    expect(foretold.outcome).toBe(decided(given));
    expect(judgeReadiness(foretold, typeWords[type], excludes)).toEqual(foretold);
  },
);
