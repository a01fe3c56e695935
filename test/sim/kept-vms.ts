import {
  type CheckpointOutcome,
  type StepResult,
  type VmDefinition,
  Workload,
  WorkloadState,
} from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";

/** What runs the VMs of a simulated host. */
export interface Machines {
  has(uid: string): boolean;
  /** Whether it stands still because its host has no lease. */
  isHeld(uid: string): boolean;
  /** Of one that does not run. @throws StillpointError LEASE_EXPIRED */
  start(vm: KeptVm): void;
  /** Does nothing for one that does not run. */
  end(uid: string, why: string): void;
}

/** Where checkpoints are pushed to and received from. */
export interface Parcels {
  /** Gives the digest of a checkpoint from now on. */
  push(checkpoint: string, repository: string): string;
  /** `reference`: <repository>@sha256:... */
  has(reference: string): boolean;
}

/** What a simulated host has of a VM: in place of files. */
export interface KeptVm {
  readonly uid: string;
  definition: VmDefinition;
  /** Its user has paused it. */
  isPaused: boolean;
  leftBehind: boolean;
  /** It ended by itself. */
  hasCrashed: boolean;
  /** By uid, how each was taken. */
  readonly checkpoints: Map<string, CheckpointOutcome>;
  head: string;
  startTime: Date | undefined;
}

type Answer = Pick<StepResult, "checkpoint" | "pushed">;
type ActionOf<Case extends AgentAction["$case"]> = Extract<AgentAction, { readonly $case: Case }>;
type Handlers = { readonly [Case in AgentAction["$case"]]?: (vm: KeptVm, action: ActionOf<Case>) => Answer };

const nothing: Answer = { checkpoint: undefined };

/**
 * The VMs of a simulated host. They are there or not and run or not, their checkpoints have been taken or not; there is
 * no disk, no memory and no guest. Each action does what the agent's does to that state, at once, and can be repeated.
 */
export class KeptVms {
  readonly #machines: Machines;
  readonly #parcels: Parcels;
  readonly #now: () => Date;
  readonly #vms = new Map<string, KeptVm>();

  constructor(machines: Machines, parcels: Parcels, now: () => Date) {
    this.#machines = machines;
    this.#parcels = parcels;
    this.#now = now;
  }

  list(): KeptVm[] {
    return [...this.#vms.values()];
  }

  uids(): string[] {
    return [...this.#vms.keys()];
  }

  find(uid: string): KeptVm | undefined {
    return this.#vms.get(uid);
  }

  /** Undefined where there is nothing of that uid. `epoch`: the highest of an operation that has worked on it. */
  describe(uid: string, epoch: number): Workload | undefined {
    const vm = this.#vms.get(uid);
    if (vm === undefined) return undefined;
    return Workload.fromPartial({
      ...{ uid, name: vm.definition.name, epoch, state: this.stateOf(vm), machineType: "simulated" },
      ...{ checkpoints: [...vm.checkpoints.keys()], head: vm.head, leftBehind: vm.leftBehind },
      ...{ guestAgent: { connected: this.#machines.has(uid), version: "simulated" } },
      ...(vm.startTime && { startTime: vm.startTime }),
    });
  }

  stateOf({ uid, isPaused, hasCrashed }: KeptVm): WorkloadState {
    if (!this.#machines.has(uid)) return hasCrashed ? WorkloadState.CRASHED : WorkloadState.STOPPED;
    return isPaused ? WorkloadState.PAUSED : WorkloadState.RUNNING;
  }

  /** Its process is ended for good; what is kept of it stays. False when that was done before. */
  leaveBehind(uid: string): boolean {
    const vm = this.#vms.get(uid);
    if (vm === undefined || vm.leftBehind) return false;
    vm.leftBehind = true;
    this.#machines.end(uid, "it is left behind");
    return true;
  }

  /** @throws StillpointError WORKLOAD_NOT_FOUND, WORKLOAD_LEFT_BEHIND, LEASE_EXPIRED, CAPABILITY_MISSING and what the machines throw */
  perform(uid: string, action: AgentAction): Answer {
    if (action.$case === "createVm") return this.#create(uid, action.value.definition);
    if (action.$case === "deleteVm") return this.#delete(uid);
    if (action.$case === "pushCheckpoint") return this.#push(action.value);
    const vm = this.#vms.get(uid);
    if (vm === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `there is no ${uid} here`);
    if (vm.leftBehind) throw new StillpointError("WORKLOAD_LEFT_BEHIND", `${uid} has left this host`);
    if (this.#machines.isHeld(uid) && !(action.$case === "stopVm" && action.value.force)) {
      throw new StillpointError("LEASE_EXPIRED", `${uid} stands still: its host has no lease`);
    }
    const perform = this.#handlers[action.$case] as ((vm: KeptVm, action: AgentAction) => Answer) | undefined;
    if (perform === undefined) throw new StillpointError("CAPABILITY_MISSING", `${action.$case} is not simulated`);
    return perform(vm, action);
  }

  readonly #handlers: Handlers = {
    startVm: (vm) => this.#start(vm),
    stopVm: (vm) => this.#stop(vm),
    rebootVm: (vm) => this.#reboot(vm),
    pauseVm: (vm) => this.#pause(vm, true),
    resumeVm: (vm) => this.#pause(vm, false),
    setVmRecovery: (vm, { value: { recovery } }) => {
      vm.definition = { ...vm.definition, recovery };
      return nothing;
    },
    takeProduction: (vm, { value: { checkpointUid } }) => this.#take(vm, checkpointUid, frozen(this.#now())),
    takeStandard: (vm, { value: { checkpointUid } }) => this.#take(vm, checkpointUid, { ram: { bytes: 0 } }),
    takeOffline: (vm, { value: { checkpointUid } }) => this.#take(vm, checkpointUid, {}),
    verifyCheckpoint: (vm, { value: { checkpointUid } }) => ({ checkpoint: this.#checkpoint(vm, checkpointUid) }),
    checkApply: (vm, { value: { checkpointUid } }) => ({ checkpoint: this.#checkpoint(vm, checkpointUid) }),
    discardCheckpoint: (vm, { value: { checkpointUid } }) => this.#remove(vm, [checkpointUid]),
    removeCheckpoints: (vm, { value: { checkpointUids } }) => this.#remove(vm, checkpointUids),
    receiveCheckpoint: (vm, { value: { checkpointUid, source } }) => this.#receive(vm, checkpointUid, source),
    applyCheckpoint: (vm, { value: { checkpointUid } }) => this.#apply(vm, checkpointUid),
  };

  #create(uid: string, definition: VmDefinition | undefined): Answer {
    if (definition === undefined) throw new StillpointError("ARGUMENT_INVALID", "the VM's definition is missing");
    if (this.#vms.has(uid)) return nothing;
    const fresh = { isPaused: false, leftBehind: false, hasCrashed: false, head: "", startTime: undefined };
    this.#vms.set(uid, { uid, definition, ...fresh, checkpoints: new Map() });
    return nothing;
  }

  #delete(uid: string): Answer {
    this.#machines.end(uid, "it is deleted");
    this.#vms.delete(uid);
    return nothing;
  }

  #start(vm: KeptVm): Answer {
    if (this.#machines.has(vm.uid)) return nothing;
    this.#machines.start(vm);
    vm.isPaused = false;
    vm.hasCrashed = false;
    vm.startTime = this.#now();
    return nothing;
  }

  #stop(vm: KeptVm): Answer {
    this.#machines.end(vm.uid, "it is stopped");
    vm.hasCrashed = false;
    return nothing;
  }

  #reboot(vm: KeptVm): Answer {
    this.#stop(vm);
    return this.#start(vm);
  }

  #pause(vm: KeptVm, isPaused: boolean): Answer {
    if (!this.#machines.has(vm.uid)) throw new StillpointError("VM_STATE", `${vm.definition.name} is off`);
    vm.isPaused = isPaused;
    return nothing;
  }

  #take(vm: KeptVm, checkpoint: string, evidence: Readonly<Record<string, unknown>>): Answer {
    const taken = vm.checkpoints.get(checkpoint) ?? outcome(evidence);
    vm.checkpoints.set(checkpoint, taken);
    vm.head = checkpoint;
    return { checkpoint: taken };
  }

  #checkpoint({ checkpoints, definition }: KeptVm, checkpoint: string): CheckpointOutcome {
    const found = checkpoints.get(checkpoint);
    if (found !== undefined) return found;
    throw new StillpointError("CHECKPOINT_NOT_FOUND", `${definition.name} has no checkpoint ${checkpoint} here`);
  }

  #remove(vm: KeptVm, checkpoints: readonly string[]): Answer {
    for (const checkpoint of checkpoints) vm.checkpoints.delete(checkpoint);
    if (!vm.checkpoints.has(vm.head)) vm.head = "";
    return nothing;
  }

  #receive(vm: KeptVm, checkpoint: string, source: ActionOf<"receiveCheckpoint">["value"]["source"]): Answer {
    if (source?.$case !== "reference") throw new StillpointError("CAPABILITY_MISSING", "clones are not simulated");
    if (!this.#parcels.has(source.value)) throw new StillpointError("IMAGE_NOT_FOUND", `${source.value} is nowhere`);
    const received = outcome({});
    vm.checkpoints.set(checkpoint, received);
    return { checkpoint: received };
  }

  #apply(vm: KeptVm, checkpoint: string): Answer {
    const applied = this.#checkpoint(vm, checkpoint);
    this.#machines.end(vm.uid, "a checkpoint is applied");
    vm.head = checkpoint;
    return { checkpoint: applied };
  }

  #push({ workloadUid, checkpointUid, repository }: ActionOf<"pushCheckpoint">["value"]): Answer {
    const vm = this.#vms.get(workloadUid);
    if (vm === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `there is no ${workloadUid} here`);
    this.#checkpoint(vm, checkpointUid);
    const digest = this.#parcels.push(checkpointUid, repository);
    const pushed = { digest, bytesSent: 0, bytesTotal: 0, chunksSent: 0, chunksTotal: 0 };
    return { checkpoint: undefined, pushed };
  }
}

const root = [{ id: "root", included: true, bytes: 0 }];

const outcome = (evidence: Readonly<Record<string, unknown>>): CheckpointOutcome => ({
  ...{ refusedReason: "", refusedDetail: "", sizeBytes: 0 },
  evidence: { disks: root, ...evidence },
});

/** One file system, frozen for no time. */
function frozen(now: Date): Readonly<Record<string, unknown>> {
  const time = now.toISOString();
  return {
    freeze: { count: 1, thawCount: 1, windowMs: 0, writers: [] },
    timeline: [
      { event: "frozen", time },
      { event: "thawed", time },
    ],
  };
}
