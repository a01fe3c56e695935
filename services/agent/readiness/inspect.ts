import { WorkloadState } from "#contracts/host/v1/agent";
import { CheckpointReadiness, type GuestAgent } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { judgeReadiness } from "#libs/readiness";
import type { DiskStore, Machine } from "../ports.ts";
import type { Workload } from "../workload.ts";
import { findingsOf, type Seen } from "./findings.ts";
import { type AskGuest, type GuestFacts, readGuest } from "./guest-facts.ts";
import { mountsOf } from "./mounts.ts";
import { refreshInventory } from "./refresh-inventory.ts";

export interface InspectDeps {
  readonly disks: Pick<DiskStore, "freeBytes">;
  readonly clock: Clock;
}

export interface InspectOptions {
  readonly ask: AskGuest;
  /** Have the guest's writers asked too, instead of reading what they said last. */
  readonly anew: boolean;
}

/**
 * Looks at a VM and its guest, and judges as if its policy were production. Only reads.
 * @throws GuestDisturbed when the guest is not to be asked
 */
export async function inspectWorkload(
  deps: InspectDeps,
  workload: Workload,
  options: InspectOptions,
): Promise<CheckpointReadiness> {
  const { machine, definition, manifest } = workload;
  const condition = conditions[await workload.state()];
  const guest = machine && condition === "running" ? await lookInside(deps, machine, options) : undefined;
  const memory = machine && condition !== "off" ? await machine.memory.obstacles() : undefined;
  const free = await deps.disks.freeBytes();
  const space = { free, disks: Object.keys(manifest.disks).length, memory: definition.memoryBytes };
  const inside = tellInside(guest, workload.guestAgent);
  const seen: Seen = { condition, mounts: inside.mounts, space, ...(guest && { guest }), ...(memory && { memory }) };
  const readiness = CheckpointReadiness.fromPartial({
    ...inside,
    ramBlockers: [...(memory?.blocked ?? [])],
    freeBytes: free,
    findings: findingsOf(seen),
    time: deps.clock.now(),
  });
  return judgeReadiness(readiness, undefined);
}

/** What is told of the guest; of one that was not asked, what is known of its agent. */
function tellInside(guest: GuestFacts | undefined, known: GuestAgent) {
  if (guest?.state !== "answers") {
    const guestAgent = guest === undefined ? known : { connected: false, version: "" };
    return { guestAgent, freezeEnabled: false, hooksEnabled: false, writers: [], mounts: [] };
  }
  return {
    guestAgent: { connected: true, version: guest.version },
    freezeEnabled: guest.canFreeze,
    hooksEnabled: guest.hook?.path !== undefined,
    writers: [...(guest.writers ?? [])],
    mounts: mountsOf(guest.fileSystems ?? []),
  };
}

const conditions: Readonly<Record<WorkloadState, Seen["condition"]>> = {
  [WorkloadState.RUNNING]: "running",
  [WorkloadState.PAUSED]: "paused",
  [WorkloadState.CRASHED]: "crashed",
  [WorkloadState.STOPPED]: "off",
  [WorkloadState.UNSPECIFIED]: "off",
  [WorkloadState.UNRECOGNIZED]: "off",
};

async function lookInside({ clock }: InspectDeps, machine: Machine, { ask, anew }: InspectOptions) {
  const facts = await readGuest(machine, ask);
  // A guest with an inventory has our dispatcher as its hook, which can be asked.
  if (!anew || facts.state !== "answers" || facts.writers === undefined || !facts.hook?.path) return facts;
  await refreshInventory(ask, facts.hook.path, clock);
  return await readGuest(machine, ask);
}
