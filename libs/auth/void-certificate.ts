import type { HostIdentity } from "#contracts/scheduler/v1/scheduler";

/**
 * Whether a host's certificate that was made then gives no rights any more: the host was forgotten after that. One that
 * has once joined by a token has none at all until it joins anew.
 */
export function isVoid(identity: HostIdentity | undefined, madeAt: Date): boolean {
  if (identity === undefined) return false;
  if (identity.forgotten && identity.certificateFingerprint !== "") return true;
  // A time that is none is no proof.
  return identity.certificatesFrom !== undefined && !(madeAt >= identity.certificatesFrom);
}
