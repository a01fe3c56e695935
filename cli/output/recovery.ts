import type { RecoveryPoint, VmSpec } from "#contracts/vm/v1/vm";
import { showAge, showSeconds } from "./units.ts";

interface Recovered {
  readonly spec?: Pick<VmSpec, "recovery" | "recoveryPoint"> | undefined;
  readonly recoveryPoint?: RecoveryPoint | undefined;
}

/** What happens to a workload when its host fails, and what it would be recovered from. */
export function recoveryFields(workload: Recovered, now: Date): [string, string][] {
  return [
    ["When its host fails", recovery(workload)],
    ["Recovery point", point(workload, now)],
  ];
}

function recovery({ spec }: Recovered): string {
  if (spec?.recovery !== "RECOVERY_RESTART") return "";
  return `restarts elsewhere; a point each ${showSeconds(spec.recoveryPoint?.seconds ?? 15 * 60)}`;
}

/** How old it is, and why there is no newer one. */
function point({ recoveryPoint }: Recovered, now: Date): string {
  if (recoveryPoint === undefined) return "";
  const { time, reference, late, failureReason, failureMessage } = recoveryPoint;
  const age = time === undefined ? "none yet" : `${showAge(time, now)} ago${late ? ", LATE" : ""}: ${reference}`;
  return failureReason === "" ? age : `${age}\nthe last attempt failed: ${failureReason}: ${failureMessage}`;
}
