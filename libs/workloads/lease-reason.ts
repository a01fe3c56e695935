/** Why a workload is paused that its host's guard has stopped when the host's lease ran out, as its record says it. */
export const leasePaused = "host cannot reach the control plane";
