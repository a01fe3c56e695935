import { describe, expect, test } from "vitest";
import {
  type CheckpointType,
  type Condition,
  chooseType,
  decideFirst,
  decideUncleanOffline,
  decideWithoutProduction,
  diskExcluded,
  quiesceAbsent,
  type TakenType,
} from "./policy.ts";

describe("the type that holds", () => {
  const table: [TakenType | undefined, Record<CheckpointType, string>][] = [
    [
      undefined,
      { production: "production", "production-only": "production-only", standard: "standard", disabled: "disabled" },
    ],
    [
      "production",
      { production: "production", "production-only": "not-allowed", standard: "production", disabled: "disabled" },
    ],
    [
      "production-only",
      {
        production: "production-only",
        "production-only": "production-only",
        standard: "production-only",
        disabled: "disabled",
      },
    ],
    [
      "standard",
      { production: "standard", "production-only": "not-allowed", standard: "standard", disabled: "disabled" },
    ],
  ];
  const rows = table.flatMap(([asked, columns]) =>
    (Object.entries(columns) as [CheckpointType, string][]).map(([own, expected]) => ({ asked, own, expected })),
  );
  test.each(rows)("asked $asked of a VM with $own: $expected", ({ asked, own, expected }) => {
    const choice = chooseType(asked, own);
    expect(choice.allowed ? choice.type : choice.why).toBe(expected);
  });
});

describe("what is taken first", () => {
  const table: [TakenType, Condition, string, string?][] = [
    ["production", "running", "production"],
    ["production", "paused", "standard, fell back", "vm.paused"],
    ["production", "off", "offline"],
    ["production", "crashed", "offline", "vm.crashed"],
    ["production-only", "running", "production"],
    ["production-only", "paused", "refuse", "vm.paused"],
    ["production-only", "off", "offline"],
    ["production-only", "crashed", "refuse", "vm.crashed"],
    ["standard", "running", "standard"],
    ["standard", "paused", "standard"],
    ["standard", "off", "offline"],
    ["standard", "crashed", "offline", "vm.crashed"],
  ];
  test.each(table)("%s of a VM that is %s: %s %s", (type, condition, expected, code) => {
    const decision = decideFirst(type, condition);
    const fellBack = decision.action === "standard" && decision.fellBack;
    expect(`${decision.action}${fellBack ? ", fell back" : ""}`).toBe(expected);
    expect(decision.cause?.code).toBe(code);
  });
});

describe("what is taken first with a disk left out", () => {
  const table: [TakenType, Condition, string, string?][] = [
    ["production", "running", "production"],
    ["production", "paused", "refuse", "vm.paused"],
    ["production", "off", "offline"],
    ["production", "crashed", "offline", "vm.crashed"],
    ["production-only", "running", "production"],
    ["production-only", "paused", "refuse", "vm.paused"],
    ["production-only", "off", "offline"],
    ["production-only", "crashed", "refuse", "vm.crashed"],
    ["standard", "running", "refuse", "disk.excluded"],
    ["standard", "paused", "refuse", "disk.excluded"],
    ["standard", "off", "offline"],
    ["standard", "crashed", "offline", "vm.crashed"],
  ];
  test.each(table)("%s of a VM that is %s: %s %s", (type, condition, expected, code) => {
    const decision = decideFirst(type, condition, { memory: diskExcluded });
    expect({ action: decision.action, code: decision.cause?.code }).toEqual({ action: expected, code });
  });

  test("production that is not reached does not fall back, and says both reasons", () => {
    expect(decideWithoutProduction("production", { code: "agent.absent", detail: "no answer" }, diskExcluded)).toEqual({
      action: "refuse",
      cause: {
        code: "agent.absent",
        detail: `no answer; standard could not be had either (disk.excluded: ${diskExcluded.detail})`,
      },
    });
    expect(decideWithoutProduction("production", { code: "vm.off", detail: "" }, diskExcluded)).toEqual({
      action: "offline",
    });
  });
});

test("production-only of a container without a quiesce command is refused before anything is tried", () => {
  const rest = quiesceAbsent;
  expect(decideFirst("production-only", "running", { rest })).toEqual({ action: "refuse", cause: quiesceAbsent });
  expect(decideFirst("production", "running", { rest })).toEqual({ action: "production" });
  expect(decideFirst("production-only", "off", { rest })).toEqual({ action: "offline" });
});

describe("when production is not reached", () => {
  const cause = { code: "agent.absent", detail: "no answer" };
  test("production falls back to standard and keeps the reason", () => {
    expect(decideWithoutProduction("production", cause)).toEqual({ action: "standard", fellBack: true, cause });
  });
  test("production-only refuses with the reason", () => {
    expect(decideWithoutProduction("production-only", cause)).toEqual({ action: "refuse", cause });
  });
  test("a guest that powered off meanwhile is taken offline", () => {
    expect(decideWithoutProduction("production-only", { code: "vm.off", detail: "" })).toEqual({
      action: "offline",
    });
  });
});

test("unclean disks of a VM that is off: production-only refuses, the others say so", () => {
  const cause = { code: "verify.unclean", detail: "journal to replay" };
  expect(decideUncleanOffline("production-only", cause).action).toBe("refuse");
  expect(decideUncleanOffline("production", cause)).toEqual({ action: "offline", cause });
});

test("a production-only checkpoint never becomes a standard one", () => {
  for (const condition of ["running", "paused", "off", "crashed"] as const) {
    expect(decideFirst("production-only", condition).action).not.toBe("standard");
  }
});
