import type { CheckpointReadiness } from "#contracts/vm/v1/vm";

/**
 * Whether something changed that a person would want to know: not the time, free bytes, or a mount that can be
 * frozen. Pure.
 */
export function isMaterialChange(before: CheckpointReadiness | undefined, after: CheckpointReadiness): boolean {
  return before === undefined || materialOf(before) !== materialOf(after);
}

function materialOf(readiness: CheckpointReadiness): string {
  const { policy, outcome, consistency, guestAgent, freezeEnabled, hooksEnabled } = readiness;
  const { writers, mounts, ramBlockers, findings } = readiness;
  return JSON.stringify([
    ...[policy, outcome, consistency, guestAgent?.connected ?? false, guestAgent?.version ?? ""],
    ...[freezeEnabled, hooksEnabled, ramBlockers],
    writers.map(({ name, state }) => `${name} ${state}`).toSorted(),
    mounts
      .filter(({ freezable }) => !freezable)
      .map(({ path }) => path)
      .toSorted(),
    findings.map(({ code }) => code).toSorted(),
  ]);
}
