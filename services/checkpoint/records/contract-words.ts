import { CheckpointKind, Consistency } from "#contracts/checkpoint/v1/checkpoint";
import { WorkloadState } from "#contracts/host/v1/agent";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Condition, CheckpointType as PolicyType, TakenType } from "../domain/policy.ts";
import type { Kind, Consistency as ReachedConsistency } from "../domain/receipt.ts";

/** The contract's words and the domain's, one for the other. */
export const typeWords = {
  production: CheckpointType.PRODUCTION,
  "production-only": CheckpointType.PRODUCTION_ONLY,
  standard: CheckpointType.STANDARD,
  disabled: CheckpointType.DISABLED,
} as const satisfies Record<PolicyType, CheckpointType>;

export const kindWords = {
  production: CheckpointKind.PRODUCTION,
  standard: CheckpointKind.STANDARD,
} as const satisfies Record<Kind, CheckpointKind>;

export const consistencyWords = {
  application: Consistency.APPLICATION,
  filesystem: Consistency.FILESYSTEM,
  "saved-state": Consistency.SAVED_STATE,
  offline: Consistency.OFFLINE,
  crash: Consistency.CRASH,
} as const satisfies Record<ReachedConsistency, Consistency>;

/** What a checkpoint promises, as receipts and artifacts say it. */
export function consistencyWord(consistency: Consistency): ReachedConsistency {
  const words = Object.keys(consistencyWords) as ReachedConsistency[];
  const word = words.find((it) => consistencyWords[it] === consistency);
  if (word !== undefined) return word;
  throw new StillpointError("INTERNAL", `there is no word for the consistency ${consistency}`);
}

/** The type that holds for a VM: its own, else its project's; production where neither is set, as in Hyper-V. */
export function policyType(own: CheckpointType | undefined, project: CheckpointType): PolicyType {
  return wordOf(own) ?? wordOf(project) ?? "production";
}

/** The type that was asked for; undefined when none was. Fails with ARGUMENT_INVALID. */
export function askedType(type: CheckpointType): TakenType | undefined {
  if (type === CheckpointType.UNSPECIFIED) return undefined;
  const word = wordOf(type);
  if (word !== undefined && word !== "disabled") return word;
  throw new StillpointError("ARGUMENT_INVALID", `a checkpoint cannot be of the type ${word ?? type}`, {
    help: "Ask for production, production-only or standard.",
  });
}

/** A workload as its host sees it, in the policy's words. */
export function conditionOf(state: WorkloadState): Condition | undefined {
  return conditions[state];
}

const conditions: Partial<Record<WorkloadState, Condition>> = {
  [WorkloadState.RUNNING]: "running",
  [WorkloadState.PAUSED]: "paused",
  [WorkloadState.STOPPED]: "off",
  [WorkloadState.CRASHED]: "crashed",
};

const wordOf = (type: CheckpointType | undefined): PolicyType | undefined =>
  (Object.keys(typeWords) as PolicyType[]).find((word) => typeWords[word] === type);
