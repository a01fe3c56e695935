import { Recovery } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepAction, StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { heldByLease } from "./lease-hold.ts";

type AdmitDeps = Pick<AgentParts, "workloads" | "requireLease">;

/** These take back what a step did, and wait rather than leave half of it behind. */
const takesBack: ReadonlySet<StepAction["$case"]> = new Set(["discardCheckpoint", "thawHeld", "removeCheckpoints"]);
/** These end the machine before they start it again. */
const startsAgain: ReadonlySet<StepAction["$case"]> = new Set(["rebootVm", "applyCheckpoint"]);

/**
 * Lets a step begin when the VM can answer it. Whatever is the matter with it, a VM can be ended and deleted.
 * @throws StillpointError LEASE_EXPIRED, WORKLOAD_LEFT_BEHIND
 */
export async function admit(deps: AdmitDeps, { uid, signal }: StepContext, action: StepAction): Promise<void> {
  const workload = deps.workloads.find(uid);
  if (workload === undefined) return;
  if (workload.manifest.leftBehind !== undefined) return refuseLeftBehind(workload, action);
  if (takesBack.has(action.$case)) await untilFree(workload, signal);
  if (workload.leaseHold !== undefined) {
    if (endsIt(action)) return;
    throw heldByLease(workload.definition.name);
  }
  if (startsAgain.has(action.$case) && workload.definition.recovery === Recovery.RESTART) {
    deps.requireLease(workload.definition.name); // ended by then, it could not be started
  }
  await unlessAborted(signal, workload.adopted);
}

function endsIt(action: StepAction): boolean {
  return action.$case === "deleteVm" || (action.$case === "stopVm" && action.value.force);
}

function refuseLeftBehind({ definition: { name } }: Workload, action: StepAction): void {
  if (action.$case === "deleteVm") return;
  throw new StillpointError("WORKLOAD_LEFT_BEHIND", `${name} has left this host: its files here are of the past`);
}

async function untilFree(workload: Workload, signal: AbortSignal): Promise<void> {
  while (workload.leaseHold !== undefined) await unlessAborted(signal, workload.leaseHold.over);
}

async function unlessAborted(signal: AbortSignal, awaited: Promise<void>): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const leave = () => reject(signal.reason);
  signal.addEventListener("abort", leave);
  try {
    await Promise.race([awaited, promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
