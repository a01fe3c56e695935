import { ContainerHealth, ContainerState } from "#contracts/container/v1/container";
import { type ContainerStatus, type Workload, WorkloadState } from "#contracts/host/v1/agent";
import type { DrillResult } from "../domain/drill.ts";

/** Why a workload did not prove itself. */
export type Failing = Pick<DrillResult, "reason" | "detail">;

/** Whether a workload is up and can be tried, as its host sees it. */
export type TrialReadiness = "ready" | "not yet" | Failing;

/** How a kind of workload shows that it is up. */
export interface Waiting {
  readonly judge: (workload: Workload | undefined, runsForMs: number) => TrialReadiness;
  /** What is said when it is not in time. */
  readonly late: Failing;
  /** What was seen when there is no command to run. */
  readonly seen: string;
}

/** A guest is up when its agent answers. */
export const guestWaiting: Waiting = {
  judge(workload) {
    if (workload?.guestAgent?.connected === true) return "ready";
    if (workload?.state === WorkloadState.RUNNING) return "not yet";
    return { reason: "vm.ended", detail: "the guest ended before its agent answered" };
  },
  late: { reason: "agent.absent", detail: "the guest's agent did not answer" },
  seen: "the guest's agent answers; there is no check command",
};

/** One without a health check may end right after its start. */
const STEADY_MS = 3_000;

/** A container is up when its health check says so; one without, when it has run for a while. */
export const containerWaiting: Waiting = {
  judge: (workload, runsForMs) => judgeContainer(workload?.container, runsForMs),
  late: { reason: "health.timed_out", detail: "its health check did not say that it is well" },
  seen: "it runs, and its health check, where it has one, says that it is well; there is no check command",
};

function judgeContainer(status: ContainerStatus | undefined, runsForMs: number): TrialReadiness {
  if (status?.state !== ContainerState.RUNNING) {
    const { exitCode = 0, outOfMemory = false } = status?.lastExit ?? {};
    const how = outOfMemory ? "it had no memory left" : `it ended with ${exitCode}`;
    return { reason: "container.ended", detail: `the container does not run: ${how}` };
  }
  const { health } = status;
  if (health === ContainerHealth.HEALTHY) return "ready";
  if (health === ContainerHealth.UNHEALTHY) return { reason: "health.failed", detail: "its health check failed" };
  if (health === ContainerHealth.STARTING) return "not yet";
  return runsForMs >= STEADY_MS ? "ready" : "not yet";
}
