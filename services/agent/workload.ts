import {
  type ContainerStatus,
  type LeaseChange,
  VmDefinition,
  type Workload as WorkloadMessage,
  WorkloadState,
} from "#contracts/host/v1/agent";
import type { CheckpointReadiness, CheckpointStorage, GuestAgent } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { HeldTake } from "./checkpoints/held-take.ts";
import { writeDurably } from "./durable-file.ts";
import { heldByLease, type LeaseHold } from "./lease/lease-hold.ts";
import { type Manifest, writeManifest } from "./manifest.ts";
import { withHash } from "./own-sum.ts";
import type { Machine, MachineEnd } from "./ports.ts";
import type { Reserve } from "./reserve.ts";
import type { WorkloadFolder } from "./workload-folder.ts";

export type Happened =
  | { readonly state: WorkloadState; readonly reason: string }
  | { readonly guestAgent: GuestAgent }
  | { readonly digests: { readonly checkpointUid: string; readonly digests: Record<string, string> } }
  | { readonly storage: CheckpointStorage }
  | { readonly readiness: CheckpointReadiness }
  | { readonly container: ContainerStatus; readonly reason: string }
  | { readonly lease: LeaseChange; readonly reason: string }
  | { readonly foundFrozen: true };

export interface MergeProgress {
  readonly doneBytes: number;
  /** 0 while no merge runs. */
  readonly totalBytes: number;
  /** "space.insufficient", "clone.linked" or "merge.failed"; empty when nothing waits. */
  readonly waitsFor: string;
}

export interface WorkloadDeps {
  readonly logger: Logger;
  /** For manifests, on a full disk. */
  readonly reserve: Pick<Reserve, "spend">;
  /** Tells the control plane what was seen. */
  observe(workload: { readonly uid: string; readonly name: string }, happened: Happened): void;
}

const NO_AGENT: GuestAgent = { connected: false, version: "" };
const AGENT_INFO_MS = 10_000;

/** A VM that has files here: its definition, its manifest, and its machine while it runs. */
export class Workload {
  readonly folder: WorkloadFolder;
  readonly #deps: WorkloadDeps;
  #definition: VmDefinition;
  #manifest: Manifest;
  #machine: Machine | undefined;
  #guestAgent = NO_AGENT;
  /** A guest that one step froze, for another to thaw. */
  held: HeldTake | undefined;
  #leaseHold: LeaseHold | undefined;
  readonly #firstHold = Promise.withResolvers<void>();
  /** Resolves when this agent has met what it found running, and what an earlier one had begun is settled. */
  adopted: Promise<void> = Promise.resolve();
  readonly #owedThaws = new Set<Promise<void>>();
  /** The merge of its layers that is under way, or why it waits. */
  merging: MergeProgress = { doneBytes: 0, totalBytes: 0, waitsFor: "" };
  #saving: Promise<void> = Promise.resolve();

  constructor(definition: VmDefinition, folder: WorkloadFolder, manifest: Manifest, deps: WorkloadDeps) {
    this.#definition = definition;
    this.folder = folder;
    this.#manifest = manifest;
    this.#deps = deps;
  }

  get definition(): VmDefinition {
    return this.#definition;
  }

  get uid(): string {
    return this.definition.uid;
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  /** Undefined while the VM is off. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** A thaw that the guest has not answered yet: it may be frozen. */
  get owesThaw(): boolean {
    return this.#owedThaws.size > 0;
  }

  /** Remembers a thaw until it is answered. */
  oweThaw(thaw: Promise<void>): void {
    const owed = thaw
      .catch((error: unknown) => this.#deps.logger.error({ err: error, uid: this.uid }, "the thaw was given up"))
      .finally(() => this.#owedThaws.delete(owed));
    this.#owedThaws.add(owed);
  }

  /** Resolves when no thaw is owed any more. */
  async thawsAnswered(): Promise<void> {
    await Promise.all(this.#owedThaws);
  }

  /** While the host has no lease and its process stands still for that: nothing of it answers. */
  get leaseHold(): LeaseHold | undefined {
    return this.#leaseHold;
  }

  set leaseHold(hold: LeaseHold | undefined) {
    this.#leaseHold = hold;
    if (hold !== undefined) this.#firstHold.resolve();
  }

  /** Resolves when it has stood still for want of a lease at least once, as far as this agent saw. */
  get everHeld(): Promise<void> {
    return this.#firstHold.promise;
  }

  get guestAgent(): GuestAgent {
    return this.#guestAgent;
  }

  /** Changes the manifest, on disk first; changes take turns. */
  save(change: (manifest: Manifest) => Manifest): Promise<void> {
    const saved = this.#saving.then(async () => {
      const next = change(this.#manifest);
      await this.#deps.reserve.spend(() => writeManifest(this.folder.manifest, next));
      this.#manifest = next;
    });
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  /** Changes what it is to be from its next start on, on disk first. */
  async redefine(definition: VmDefinition): Promise<void> {
    await writeDefinition(this.folder, definition);
    this.#definition = definition;
  }

  /** @throws StillpointError VM_STATE when the VM is off, LEASE_EXPIRED while it stands still for want of a lease */
  runningMachine(what: string): Machine {
    if (this.leaseHold !== undefined) throw heldByLease(this.definition.name);
    if (this.#machine !== undefined) return this.#machine;
    throw new StillpointError("VM_STATE", `${this.definition.name} is off; ${what} needs it to run`);
  }

  /** Takes a machine that has started or was found. */
  async attach(machine: Machine): Promise<void> {
    this.#machine = machine;
    machine.ended
      .then((end) => this.#detach(machine, end))
      .catch((error: unknown) => this.#deps.logger.error({ err: error, uid: this.uid }, "its end is not written down"));
    machine.onGuestListening((open) => void this.#meetGuest(machine, open));
    if (await machine.guestIsListening()) void this.#meetGuest(machine, true);
  }

  /** The machine ended while no agent looked: a guest that shuts down would have waited to be seen. */
  async noteMissing(): Promise<void> {
    if (this.#manifest.power !== "on") return;
    await this.save((manifest) => ({ ...manifest, power: "crashed" }));
    this.observe({ state: WorkloadState.CRASHED, reason: "QEMU ended while the agent was away" });
  }

  observe(happened: Happened): void {
    this.#deps.observe({ uid: this.uid, name: this.definition.name }, happened);
  }

  async state(): Promise<WorkloadState> {
    if (this.leaseHold !== undefined) return WorkloadState.PAUSED;
    if (this.#machine === undefined) {
      return this.#manifest.power === "off" ? WorkloadState.STOPPED : WorkloadState.CRASHED;
    }
    const state = await this.#machine.state().catch(() => "shutdown" as const);
    if (state === "running") return WorkloadState.RUNNING;
    return state === "shutdown" ? WorkloadState.STOPPED : WorkloadState.PAUSED;
  }

  async describe(epoch: number): Promise<WorkloadMessage> {
    const { definition, manifest } = this;
    return {
      uid: this.uid,
      name: definition.name,
      state: await this.state(),
      pid: this.#machine?.pid ?? 0,
      guestAgent: this.#guestAgent,
      epoch,
      machineType: manifest.machineType,
      startTime: this.#machine?.startTime,
      checkpoints: Object.keys(manifest.checkpoints),
      head: manifest.head ?? "",
      storage: undefined,
      leftBehind: manifest.leftBehind !== undefined,
      leaseHoldTime: this.leaseHold?.since,
    };
  }

  /** Called when the guest opens or closes its agent's port. */
  async #meetGuest(machine: Machine, open: boolean): Promise<void> {
    try {
      const met = open ? await askVersion(machine) : NO_AGENT;
      if (this.#machine !== machine || met.connected === this.#guestAgent.connected) return;
      this.#guestAgent = met;
      this.observe({ guestAgent: met });
    } catch (error) {
      this.#deps.logger.warn({ err: error, uid: this.uid }, "the guest's agent opened its port and does not answer");
    }
  }

  async #detach(machine: Machine, { orderly, reason }: MachineEnd): Promise<void> {
    if (this.#machine !== machine) return;
    this.#machine = undefined;
    this.#guestAgent = NO_AGENT;
    this.observe({ state: orderly ? WorkloadState.STOPPED : WorkloadState.CRASHED, reason });
    await this.save((manifest) => ({ ...manifest, power: orderly ? "off" : "crashed" }));
  }
}

/** Writes down, durably, what a VM is to be. */
export async function writeDefinition({ spec }: WorkloadFolder, definition: VmDefinition): Promise<void> {
  await writeDurably(spec, withHash(VmDefinition.toJSON(definition) as object));
}

async function askVersion(machine: Machine): Promise<GuestAgent> {
  const { version } = await machine.guest.call<{ version: string }>("guest-info", undefined, AGENT_INFO_MS);
  return { connected: true, version };
}
