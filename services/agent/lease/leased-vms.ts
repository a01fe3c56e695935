import { type HeldWorkload, LeaseHappened, WorkloadState } from "#contracts/host/v1/agent";
import { leasePaused } from "#libs/workloads";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepRunner } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import type { BootClock } from "./boot-clock.ts";
import type { LeasedWorkloads } from "./host-lease.ts";
import { LeaseHold } from "./lease-hold.ts";

export interface LeasedVmsDeps {
  readonly parts: AgentParts;
  readonly steps: Pick<StepRunner, "epochOf" | "isBusy">;
  readonly bootClock: BootClock;
}

const AWAY = leasePaused;
const BACK = "the host reaches the control plane again";

/** What the host's lease does to VMs. Their processes are stopped as a whole: one that its user paused stays so inside. */
export class LeasedVms implements LeasedWorkloads {
  readonly #deps: LeasedVmsDeps;

  constructor(deps: LeasedVmsDeps) {
    this.#deps = deps;
  }

  paused(uid: string, atMs: number): void {
    const { parts, bootClock } = this.#deps;
    const workload = parts.workloads.find(uid);
    if (workload === undefined || workload.leaseHold !== undefined) return;
    const holdTime = new Date(parts.clock.now().getTime() - (bootClock() - atMs));
    workload.leaseHold = new LeaseHold(holdTime);
    parts.guard.rest(uid);
    workload.observe({ lease: { what: LeaseHappened.PAUSED, holdTime, endTime: undefined }, reason: AWAY });
    workload.observe({ state: WorkloadState.PAUSED, reason: AWAY });
  }

  async resumed(uid: string): Promise<void> {
    const { parts, steps } = this.#deps;
    const workload = parts.workloads.find(uid);
    const hold = workload?.leaseHold;
    if (workload === undefined || hold === undefined) return;
    hold.end();
    const { adopted } = workload;
    if (workload.machine === undefined) await adopted; // nothing else is known of it before
    workload.leaseHold = undefined;
    parts.guard.goOn(uid);
    const lease = { what: LeaseHappened.RESUMED, holdTime: hold.since, endTime: parts.clock.now() };
    workload.observe({ lease, reason: BACK });
    await adopted;
    if (!(await steps.isBusy(uid))) await undoOwnStop(workload);
    if (workload.machine !== undefined) workload.observe({ state: await workload.state(), reason: BACK });
  }

  gone(uid: string): void {
    const workload = this.#deps.parts.workloads.find(uid);
    workload?.leaseHold?.end();
    if (workload !== undefined) workload.leaseHold = undefined;
  }

  async leaveBehind(uid: string): Promise<void> {
    const { workloads, clock, background, merges, fence } = this.#deps.parts;
    const workload = workloads.find(uid);
    if (workload === undefined || workload.manifest.leftBehind !== undefined) return;
    const endTime = clock.now();
    const holdTime = workload.leaseHold?.since;
    // First: whatever ends this agent from here on, the next one ends the process and starts none.
    const leftBehind = { time: endTime.toISOString() };
    await workload.save((manifest) => ({ ...manifest, power: "off", leftBehind }));
    for (const work of [background, merges]) work.forget(uid);
    if (workload.machine === undefined) await fence.kill(uid);
    else await workload.machine.end();
    workload.observe({
      lease: { what: LeaseHappened.ENDED, holdTime, endTime },
      reason: "it runs elsewhere or is gone",
    });
  }

  describe(uids: readonly string[]): Promise<HeldWorkload[]> {
    return this.#describe(uids.flatMap((uid) => this.#deps.parts.workloads.find(uid) ?? []));
  }

  leftBehind(): Promise<HeldWorkload[]> {
    return this.#describe(
      this.#deps.parts.workloads.list().filter(({ manifest }) => manifest.leftBehind !== undefined),
    );
  }

  #describe(workloads: readonly Workload[]): Promise<HeldWorkload[]> {
    return Promise.all(
      workloads.map(async ({ uid, definition: { name } }) => {
        return { uid, workload: name, epoch: await this.#deps.steps.epochOf(uid) };
      }),
    );
  }
}

/** A step that had stopped it for an instant has given up meanwhile. */
async function undoOwnStop({ machine, manifest }: Workload): Promise<void> {
  if (manifest.pending?.ownStop === true && (await machine?.state()) === "paused") await machine?.resume();
}
