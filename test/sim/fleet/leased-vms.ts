import { type HeldWorkload, LeaseHappened, WorkloadState } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { leasePaused } from "#libs/workloads";
import type { LeasedWorkloads } from "../../../services/agent/lease/host-lease.ts";
import type { Observations } from "../../../services/agent/observations.ts";
import type { StepRunner } from "../../../services/agent/steps/step-runner.ts";
import type { KeptVm, KeptVms } from "../kept-vms.ts";

export interface LeasedKeptVmsDeps {
  readonly vms: KeptVms;
  readonly observations: Pick<Observations, "add">;
  readonly steps: Pick<StepRunner, "epochOf">;
  readonly clock: Clock;
}

const back = "the host reaches the control plane again";

/** What the host's lease does to VMs that only keep state, and what is told of it. */
export class LeasedKeptVms implements LeasedWorkloads {
  readonly #deps: LeasedKeptVmsDeps;
  readonly #since = new Map<string, Date>();

  constructor(deps: LeasedKeptVmsDeps) {
    this.#deps = deps;
  }

  paused(uid: string, atMs: number): void {
    const { vms, clock } = this.#deps;
    const vm = vms.find(uid);
    if (vm === undefined || this.#since.has(uid)) return;
    const holdTime = new Date(clock.now().getTime() - (clock.monotonicMs() - atMs));
    this.#since.set(uid, holdTime);
    this.#tell(vm, LeaseHappened.PAUSED, leasePaused, holdTime);
    this.#observe(vm, { state: WorkloadState.PAUSED, reason: leasePaused });
  }

  async resumed(uid: string): Promise<void> {
    const { vms } = this.#deps;
    const vm = vms.find(uid);
    const holdTime = this.#since.get(uid);
    if (vm === undefined || holdTime === undefined) return;
    this.#since.delete(uid);
    this.#tell(vm, LeaseHappened.RESUMED, back, holdTime);
    this.#observe(vm, { state: vms.stateOf(vm), reason: back });
  }

  gone(uid: string): void {
    this.#since.delete(uid);
  }

  async leaveBehind(uid: string): Promise<void> {
    const { vms } = this.#deps;
    const vm = vms.find(uid);
    const holdTime = this.#since.get(uid);
    if (vm === undefined || !vms.leaveBehind(uid)) return;
    this.#tell(vm, LeaseHappened.ENDED, "it runs elsewhere or is gone", holdTime);
  }

  describe(uids: readonly string[]): Promise<HeldWorkload[]> {
    return this.#describe(uids.flatMap((uid) => this.#deps.vms.find(uid) ?? []));
  }

  leftBehind(): Promise<HeldWorkload[]> {
    return this.#describe(this.#deps.vms.list().filter((vm) => vm.leftBehind));
  }

  #describe(vms: readonly KeptVm[]): Promise<HeldWorkload[]> {
    return Promise.all(
      vms.map(async ({ uid, definition: { name } }) => {
        return { uid, workload: name, epoch: await this.#deps.steps.epochOf(uid) };
      }),
    );
  }

  #tell(vm: KeptVm, what: LeaseHappened, reason: string, holdTime: Date | undefined): void {
    const endTime = what === LeaseHappened.PAUSED ? undefined : this.#deps.clock.now();
    this.#observe(vm, { lease: { what, holdTime, endTime }, reason });
  }

  #observe({ uid, definition: { name } }: KeptVm, happened: Parameters<Observations["add"]>[1]): void {
    this.#deps.observations.add({ uid, name }, happened);
  }
}
