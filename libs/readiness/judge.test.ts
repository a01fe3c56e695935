import { describe, expect, test } from "vitest";
import { CheckpointReadiness, CheckpointType, Finding_Severity as Severity } from "#contracts/vm/v1/vm";
import { adviceFor } from "./advice.ts";
import { judgeReadiness } from "./judge.ts";
import { isMaterialChange } from "./material.ts";

const seen = (codes: readonly string[], change: Partial<CheckpointReadiness> = {}) =>
  CheckpointReadiness.fromPartial({ findings: codes.map((code) => ({ code, message: `about ${code}` })), ...change });

const redis = { hooksEnabled: true, writers: [{ name: "redis", state: "ready", detail: "" }] };

const { PRODUCTION, PRODUCTION_ONLY, STANDARD, DISABLED, UNSPECIFIED } = CheckpointType;

describe("what a checkpoint would give", () => {
  test.each<[string, readonly string[], CheckpointType, string, string]>([
    ["a guest with nothing to hold", [], PRODUCTION, "production", "filesystem"],
    ["no policy of its own", [], UNSPECIFIED, "production", "filesystem"],
    ["a policy that does not ask for production", ["agent.absent"], STANDARD, "standard", "saved-state"],
    ["no agent", ["agent.absent"], PRODUCTION, "standard", "saved-state"],
    ["no agent, and nothing less will do", ["agent.absent"], PRODUCTION_ONLY, "refused", "none"],
    ["no agent, and RAM is blocked", ["agent.absent", "ram.blocked_device"], PRODUCTION, "refused", "none"],
    ["RAM is blocked and not needed", ["ram.blocked_device"], PRODUCTION, "production", "filesystem"],
    ["RAM is blocked and asked for", ["ram.blocked_device"], STANDARD, "refused", "none"],
    ["RAM stops the guest for longer", ["ram.uffd_unavailable"], STANDARD, "standard", "saved-state"],
    ["no space for RAM, which is not needed", ["space.insufficient_for_ram"], PRODUCTION, "production", "filesystem"],
    ["no space for RAM", ["space.insufficient_for_ram"], STANDARD, "refused", "none"],
    ["no space", ["space.insufficient"], PRODUCTION, "refused", "none"],
    ["off, and no space", ["vm.off", "space.insufficient"], PRODUCTION, "refused", "none"],
    ["paused", ["vm.paused"], PRODUCTION, "standard", "saved-state"],
    ["paused, and nothing less will do", ["vm.paused"], PRODUCTION_ONLY, "refused", "none"],
    ["off", ["vm.off"], PRODUCTION_ONLY, "offline", "offline"],
    ["off, standard", ["vm.off"], STANDARD, "offline", "offline"],
    ["crashed", ["vm.crashed"], PRODUCTION, "offline", "crash"],
    ["crashed, and nothing less will do", ["vm.crashed"], PRODUCTION_ONLY, "refused", "none"],
    [
      "a container without a quiesce command",
      ["quiesce.absent", "criu.absent"],
      PRODUCTION,
      "production",
      "filesystem",
    ],
    ["the same, and nothing less will do", ["quiesce.absent", "criu.absent"], PRODUCTION_ONLY, "refused", "none"],
    ["a container whose memory is asked for", ["criu.absent"], STANDARD, "refused", "none"],
    ["a container that does not run", ["container.off", "criu.absent"], PRODUCTION_ONLY, "offline", "offline"],
    ["disabled", [], DISABLED, "refused", "none"],
    ["a finding of a newer agent", ["moon.full"], PRODUCTION, "production", "filesystem"],
  ])("%s", (_, codes, policy, outcome, consistency) => {
    expect(judgeReadiness(seen(codes), policy)).toMatchObject({ outcome, consistency });
  });

  test("it is application-consistent only with hooks and a writer that has something to hold", () => {
    const consistency = (change: Partial<CheckpointReadiness>) =>
      judgeReadiness(seen([], change), PRODUCTION).consistency;
    expect(consistency(redis)).toBe("application");
    expect(consistency({ ...redis, hooksEnabled: false })).toBe("filesystem");
    expect(consistency({ ...redis, writers: [{ name: "redis", state: "absent", detail: "" }] })).toBe("filesystem");
  });

  test.each<[readonly string[], boolean]>([
    [[], true],
    [["vm.off"], true],
    [["vm.off", "space.insufficient"], false],
    [["vm.crashed"], false],
    [["vm.paused"], false],
    [["agent.absent"], false],
    [["ram.blocked_device", "hooks.disabled"], true],
  ])("with %j production is reached: %s, whatever the policy", (codes, production) => {
    for (const policy of [PRODUCTION, PRODUCTION_ONLY, STANDARD, DISABLED]) {
      expect(judgeReadiness(seen(codes), policy)).toMatchObject({ production, policy });
    }
  });
});

describe("how grave a finding is depends on what the policy asks for", () => {
  const { ERROR: error, WARNING: warning, INFO: info } = Severity;
  test.each<[string, Record<"production" | "only" | "standard" | "disabled", Severity>]>([
    ["agent.absent", { production: error, only: error, standard: info, disabled: info }],
    ["hooks.disabled", { production: warning, only: warning, standard: info, disabled: info }],
    ["ram.blocked_device", { production: warning, only: info, standard: error, disabled: info }],
    ["ram.uffd_unavailable", { production: info, only: info, standard: warning, disabled: info }],
    ["space.insufficient", { production: error, only: error, standard: error, disabled: info }],
    ["vm.crashed", { production: error, only: error, standard: warning, disabled: info }],
    ["vm.off", { production: info, only: info, standard: info, disabled: info }],
    ["writers.unknown", { production: info, only: info, standard: info, disabled: info }],
  ])("%s", (code, expected) => {
    const under = (policy: CheckpointType) =>
      judgeReadiness(seen([code]), policy).findings.find((finding) => finding.code === code)?.severity;
    expect({
      production: under(PRODUCTION),
      only: under(PRODUCTION_ONLY),
      standard: under(STANDARD),
      disabled: under(DISABLED),
    }).toEqual(expected);
  });

  test("judging again under another policy leaves no trace of the first", () => {
    const once = judgeReadiness(seen(["agent.absent", "space.insufficient_for_ram"], redis), PRODUCTION);
    for (const policy of [STANDARD, DISABLED, PRODUCTION_ONLY]) {
      expect(judgeReadiness(judgeReadiness(once, policy), PRODUCTION)).toEqual(once);
    }
    expect(once.findings.map(({ help }) => help)).toEqual(once.findings.map(({ code }) => adviceFor(code)));
  });

  test("a disabled policy says so itself", () => {
    expect(judgeReadiness(seen([]), DISABLED).findings).toMatchObject([{ code: "policy.disabled" }]);
  });
});

describe("a change that is told", () => {
  const before = judgeReadiness(seen(["writers.missing"], redis), PRODUCTION);

  test.each<[string, Partial<CheckpointReadiness>, boolean]>([
    ["nothing", {}, false],
    ["time and free space", { time: new Date(1), freeBytes: 1 }, false],
    ["a mount that can be frozen", { mounts: [{ path: "/a", type: "ext4", freezable: true, why: "" }] }, false],
    ["a mount that cannot", { mounts: [{ path: "/a", type: "vfat", freezable: false, why: "x" }] }, true],
    [
      "the words of a finding",
      { findings: [{ ...seen(["writers.missing"]).findings[0], message: "else" }] as never },
      false,
    ],
    ["a finding", { findings: [] }, true],
    ["the agent", { guestAgent: { connected: true, version: "7.2" } }, true],
    ["a writer", { writers: [{ name: "redis", state: "broken", detail: "" }] }, true],
    ["what is blocked", { ramBlockers: ["nvme"] }, true],
  ])("%s", (_, change, expected) => {
    expect(isMaterialChange(before, { ...before, ...change })).toBe(expected);
  });

  test("the first look and another policy are changes", () => {
    expect(isMaterialChange(undefined, before)).toBe(true);
    expect(isMaterialChange(before, judgeReadiness(before, STANDARD))).toBe(true);
  });
});
