import { type CheckpointReadiness, CheckpointType, type Finding, Finding_Severity } from "#contracts/vm/v1/vm";
import { adviceFor } from "./advice.ts";
import { type Effect, effectOf } from "./effects.ts";

/**
 * What a checkpoint would give under a policy, from what was found. It foretells what the checkpoint service decides:
 *
 *     policy           | running                      | paused   | off     | crashed
 *     production       | production, else standard    | standard | offline | offline, of crashed disks
 *     production-only  | production, else refused     | refused  | offline | refused
 *     standard         | standard                     | standard | offline | offline, of crashed disks
 *     disabled         | refused
 *
 * and refused wherever what is left is hindered too. Severities and advice are the judgement's own: what stands
 * against what the policy asks for first is an error, what weakens it a warning, all else information. With a disk that
 * the VM's checkpoints leave out (`excludes`), RAM is not taken. Pure; judging again, under the same or another policy,
 * is safe. An unspecified policy is production.
 */
export function judgeReadiness(
  seen: CheckpointReadiness,
  type: CheckpointType | undefined,
  excludes = false,
): CheckpointReadiness {
  const policy = type === undefined || type === CheckpointType.UNSPECIFIED ? CheckpointType.PRODUCTION : type;
  const findings = [
    ...(policy === CheckpointType.DISABLED ? [disabled] : []),
    ...(excludes ? [diskExcluded] : []),
    ...seen.findings.filter(({ code }) => code !== disabled.code && code !== diskExcluded.code),
  ];
  const effects = findings.map(effectOf);
  const outcome = outcomeOf(policy, effects);
  return {
    ...seen,
    policy,
    production: !hinders(effects, "production") && !hinders(effects, "production-only"),
    outcome,
    consistency: consistencyOf(outcome, seen),
    findings: findings.map((finding) => ({
      ...finding,
      severity: severityOf(effectOf(finding), policy),
      help: adviceFor(finding.code),
    })),
  };
}

const disabled: Finding = {
  code: "policy.disabled",
  severity: Finding_Severity.INFO,
  message: "checkpoints are disabled by the policy",
  help: "",
};

const diskExcluded: Finding = {
  code: "disk.excluded",
  severity: Finding_Severity.INFO,
  message: "a disk is left out of its checkpoints: RAM does not fit together with it, and is not taken",
  help: "",
};

type Kind = Effect["hinders"][number];

const hinders = (effects: readonly Effect[], kind: Kind): boolean =>
  effects.some((effect) => effect.hinders.includes(kind));

function outcomeOf(policy: CheckpointType, effects: readonly Effect[]): string {
  const isHindered = (kind: Kind) => hinders(effects, kind);
  if (policy === CheckpointType.DISABLED) return "refused";
  const isOnly = policy === CheckpointType.PRODUCTION_ONLY;
  if (isOnly && (isHindered("production") || isHindered("production-only"))) return "refused";
  if (effects.some(({ isOff }) => isOff)) return isHindered("offline") ? "refused" : "offline";
  if (policy !== CheckpointType.STANDARD && !isHindered("production")) return "production";
  return isHindered("standard") ? "refused" : "standard";
}

function consistencyOf(outcome: string, { findings, hooksEnabled, writers }: CheckpointReadiness): string {
  switch (outcome) {
    case "production":
      return hooksEnabled && writers.some(({ state }) => state === "ready") ? "application" : "filesystem";
    case "standard":
      return "saved-state";
    case "offline":
      return findings.some(({ code }) => code === "vm.crashed") ? "crash" : "offline";
    default:
      return "none";
  }
}

function severityOf({ hinders: hindered, weakens }: Effect, policy: CheckpointType): Finding_Severity {
  if (policy === CheckpointType.DISABLED) return Finding_Severity.INFO;
  const wanted = policy === CheckpointType.STANDARD ? "standard" : "production";
  if (hindered.includes(wanted)) return Finding_Severity.ERROR;
  if (policy === CheckpointType.PRODUCTION_ONLY && hindered.includes("production-only")) return Finding_Severity.ERROR;
  // What the policy falls back to.
  const isFallback = policy === CheckpointType.PRODUCTION && hindered.includes("standard");
  return isFallback || weakens.includes(wanted) ? Finding_Severity.WARNING : Finding_Severity.INFO;
}
