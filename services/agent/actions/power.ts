import { WorkloadState } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { queueMerges } from "../checkpoints/merge.ts";
import { rollBackPending } from "../checkpoints/pending.ts";
import { imagesOf } from "../images/images-of.ts";
import { machineSpec } from "../machine-spec.ts";
import type { Machine, MachineSpec } from "../ports.ts";
import { watchStarvation } from "../starved.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import type { AgentParts } from "./agent-parts.ts";

const STOP_SECONDS = 60;
/** A guest that boots may not listen to its power button yet: it is pressed again. */
const PRESS_AGAIN_MS = 5_000;

/**
 * Starts QEMU and waits until it runs. A running VM stays as it is. When its machine ended in the middle of a
 * checkpoint, the guest's last writes are in layers that are not now: they are brought back first.
 */
export async function startVm(parts: AgentParts, workload: Workload): Promise<void> {
  if (workload.machine !== undefined) return;
  await rollBackPending(parts, workload);
  const spec = await machineSpec(workload, parts.images);
  await switchOn(parts, workload, spec, { incoming: false });
  workload.observe({ state: WorkloadState.RUNNING, reason: "started" });
}

/** Starts a machine and takes it; one that cannot start leaves the VM off. */
export async function switchOn(
  parts: AgentParts,
  workload: Workload,
  spec: MachineSpec,
  options: { readonly incoming: boolean },
): Promise<Machine> {
  if (spec.fenced) parts.starts.require({ uid: workload.uid, name: workload.definition.name });
  await workload.save((manifest) => ({ ...manifest, power: "on", fenced: spec.fenced }));
  try {
    const machine = await parts.hypervisor.start(spec, options);
    await workload.attach(machine);
    watchStarvation(parts, workload, machine);
    return machine;
  } catch (error) {
    await workload.save((manifest) => ({ ...manifest, power: "off" }));
    throw error;
  }
}

/** Presses the power button until the guest is off; a crash is acknowledged. @throws StillpointError STOP_TIMED_OUT */
export async function stopVm(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { force, timeoutSeconds }: { readonly force: boolean; readonly timeoutSeconds: number },
): Promise<void> {
  if (force && workload.leaseHold !== undefined) return await endHeld(parts, workload);
  const { machine } = workload;
  if (machine === undefined) return await noteStopped(workload);
  if (force) return await endMachine(workload, machine);
  if ((await machine.state()) === "paused") {
    throw new StillpointError("VM_STATE", `${workload.definition.name} is paused and cannot power off`, {
      help: "Resume it first, or use --force.",
    });
  }
  const seconds = timeoutSeconds === 0 ? STOP_SECONDS : timeoutSeconds;
  const giveUp = parts.clock.monotonicMs() + seconds * 1000;
  while (parts.clock.monotonicMs() < giveUp) {
    context.signal.throwIfAborted();
    await machine.powerButton();
    const remainingMs = giveUp - parts.clock.monotonicMs();
    if (await endsWithin(parts, machine, Math.min(PRESS_AGAIN_MS, remainingMs))) return await noteStopped(workload);
  }
  throw new StillpointError("STOP_TIMED_OUT", `${workload.definition.name} did not power off in ${seconds} s`);
}

/** A restart by the power button, or with force a reset. */
export async function rebootVm(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  force: boolean,
): Promise<void> {
  if (force) return await workload.runningMachine("a reboot").reset();
  await stopVm(parts, context, workload, { force: false, timeoutSeconds: 0 });
  await startVm(parts, workload);
}

export async function pauseVm(workload: Workload): Promise<void> {
  const stoppedAt = await workload.runningMachine("pausing").pause();
  if (stoppedAt !== undefined) workload.observe({ state: WorkloadState.PAUSED, reason: "paused" });
}

export async function resumeVm(workload: Workload): Promise<void> {
  const machine = workload.runningMachine("resuming");
  if ((await machine.state()) === "running") return;
  await machine.resume();
  workload.observe({ state: WorkloadState.RUNNING, reason: "resumed" });
}

/** Ends QEMU first, then removes every file. */
export async function deleteVm(parts: AgentParts, uid: string): Promise<void> {
  const workload = parts.workloads.find(uid);
  if (workload?.leaseHold !== undefined) await endHeld(parts, workload);
  if (workload?.machine !== undefined) await endMachine(workload, workload.machine);
  parts.background.forget(uid);
  parts.merges.forget(uid);
  await parts.workloads.remove(uid);
  await parts.images.release(workload === undefined ? [] : imagesOf(workload));
  // What it shared with a clone may belong to that alone now.
  for (const other of parts.workloads.list()) if (other.merging.waitsFor !== "") queueMerges(parts, other);
}

/** Ends QEMU and waits until its end is written down. */
export async function endMachine(workload: Workload, machine: Machine): Promise<void> {
  await machine.end();
  await noteStopped(workload);
}

/** Ends one that stands still for want of a lease, whether this agent has met it or not. */
async function endHeld(parts: AgentParts, workload: Workload): Promise<void> {
  await noteStopped(workload);
  if (workload.machine === undefined) await parts.fence.kill(workload.uid);
  else await workload.machine.end();
  await workload.adopted;
}

async function noteStopped(workload: Workload): Promise<void> {
  if (workload.manifest.power !== "off") await workload.save((manifest) => ({ ...manifest, power: "off" }));
}

async function endsWithin({ clock }: AgentParts, machine: Machine, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    const ended = machine.ended.then(() => true);
    return await Promise.race([ended, clock.sleep(Math.max(0, ms), timer.signal).then(() => false)]);
  } finally {
    timer.abort();
  }
}
