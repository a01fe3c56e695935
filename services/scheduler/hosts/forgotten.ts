import type { Heartbeat } from "#contracts/host/v1/agent";
import type { HostIdentity } from "#contracts/scheduler/v1/scheduler";

/**
 * Whether a heartbeat is of a host that was forgotten and has not joined anew. One that has once joined by a token is
 * known by its name; of one that never has, only that very data folder is refused.
 */
export function isForgotten({ hostUid }: Heartbeat, identity: HostIdentity | undefined): boolean {
  if (identity === undefined || !identity.forgotten) return false;
  return identity.certificateFingerprint !== "" || identity.forgottenUid === hostUid;
}
