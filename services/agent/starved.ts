import { WorkloadState } from "#contracts/host/v1/agent";
import type { AgentParts } from "./actions/agent-parts.ts";
import type { Machine } from "./ports.ts";
import type { Workload } from "./workload.ts";

/** What must be free before a machine that stands for want of it goes on. */
const ENOUGH_BYTES = 64 * 2 ** 20;
const LOOK_MS = 1_000;

/**
 * A machine stands when the host has no room for what its guest writes: nothing is lost, and the guest sees no error.
 * It is told as paused, with the reason, and goes on by itself when there is room again.
 */
export function watchStarvation(parts: AgentParts, workload: Workload, machine: Machine): void {
  let watching = false;
  const watch = async () => {
    if (watching || !(await machine.isStarved())) return;
    watching = true;
    try {
      await untilFed(parts, workload, machine);
    } finally {
      watching = false;
    }
  };
  const begin = () => {
    watch().catch((error: unknown) => {
      if (workload.machine === machine) parts.logger.warn({ err: error, uid: workload.uid }, "the VM stands still");
    });
  };
  machine.onStarved(begin);
  begin();
}

async function untilFed({ disks, clock }: AgentParts, workload: Workload, machine: Machine): Promise<void> {
  workload.observe({ state: WorkloadState.PAUSED, reason: "the host's disk is full; goes on when there is room" });
  while (workload.machine === machine && (await machine.isStarved())) {
    await workload.leaseHold?.over; // it would not answer
    if ((await disks.freeBytes()) < ENOUGH_BYTES) {
      await clock.sleep(LOOK_MS);
    } else {
      await machine.resume();
      workload.observe({ state: WorkloadState.RUNNING, reason: "there is room on the host's disk again" });
    }
  }
}
