import { ContainerState } from "#contracts/container/v1/container";
import { type HeldWorkload, LeaseHappened } from "#contracts/host/v1/agent";
import { leasePaused } from "#libs/workloads";
import type { Container } from "../containers/container.ts";
import type { ContainerParts } from "../containers/container-parts.ts";
import { lookAgain } from "../containers/look-again.ts";
import { guardAgain } from "../containers/under-guard.ts";
import type { StepRunner } from "../steps/step-runner.ts";
import type { BootClock } from "./boot-clock.ts";
import { endGroup, findGroup } from "./control-group.ts";
import type { LeasedWorkloads } from "./host-lease.ts";
import { LeaseHold } from "./lease-hold.ts";

export interface LeasedContainersDeps {
  readonly parts: ContainerParts;
  readonly steps: Pick<StepRunner, "epochOf">;
  readonly bootClock: BootClock;
}

/** What the host's lease does to containers. A pause of the engine, for a checkpoint, is apart from it and outlives it. */
export class LeasedContainers implements LeasedWorkloads {
  readonly #deps: LeasedContainersDeps;

  constructor(deps: LeasedContainersDeps) {
    this.#deps = deps;
  }

  /** Has all of them guarded that earlier agents have started, also those that do not run now. */
  async guardAll(): Promise<void> {
    const { containers, guarded, logger } = this.#deps.parts;
    await Promise.all(
      containers.list().map(async (container) => {
        try {
          if (container.manifest.leftBehind === undefined) await guardAgain(this.#deps.parts, container);
          else await endLeft(container);
        } catch (error) {
          logger.error({ err: error, uid: container.uid }, "no guard holds it: it stands still until one does");
          guarded.holdByForce(container.uid);
        }
      }),
    );
    for (const uid of guarded.list()) if (containers.find(uid) === undefined) guarded.release(uid);
  }

  paused(uid: string, atMs: number): void {
    const { parts, bootClock } = this.#deps;
    const container = parts.containers.find(uid);
    if (container === undefined || container.leaseHold !== undefined) return;
    const holdTime = new Date(parts.clock.now().getTime() - (bootClock() - atMs));
    container.leaseHold = new LeaseHold(holdTime);
    container.observe({ lease: { what: LeaseHappened.PAUSED, holdTime, endTime: undefined }, reason: leasePaused });
    container.see(container.status);
  }

  async resumed(uid: string): Promise<void> {
    const { parts } = this.#deps;
    const container = parts.containers.find(uid);
    const hold = container?.leaseHold;
    if (container === undefined || hold === undefined) return;
    container.leaseHold = undefined;
    hold.end();
    const lease = { what: LeaseHappened.RESUMED, holdTime: hold.since, endTime: parts.clock.now() };
    container.observe({ lease, reason: "the host reaches the control plane again" });
    if (container.isPausedByUs) return;
    container.see({ ...container.status, state: ContainerState.RUNNING });
    await lookAgain(parts, container).catch(() => undefined); // the engine is away: what it is then is told later
  }

  gone(uid: string): void {
    const container = this.#deps.parts.containers.find(uid);
    if (container?.leaseHold === undefined) return;
    container.leaseHold.end();
    container.leaseHold = undefined;
  }

  async leaveBehind(uid: string): Promise<void> {
    const { containers, guarded, background, clock } = this.#deps.parts;
    const container = containers.find(uid);
    if (container === undefined || container.manifest.leftBehind !== undefined) return;
    const endTime = clock.now();
    const holdTime = container.leaseHold?.since;
    // First: whatever ends this agent from here on, the next one ends its processes and starts none.
    const leftBehind = { time: endTime.toISOString() };
    await container.save((manifest) => ({ ...manifest, isStopped: true, leftBehind }));
    background.forget(uid);
    await guarded.end(uid);
    guarded.release(uid);
    this.gone(uid);
    container.observe({
      lease: { what: LeaseHappened.ENDED, holdTime, endTime },
      reason: "it runs elsewhere or is gone",
    });
  }

  describe(uids: readonly string[]): Promise<HeldWorkload[]> {
    return this.#describe(uids.flatMap((uid) => this.#deps.parts.containers.find(uid) ?? []));
  }

  leftBehind(): Promise<HeldWorkload[]> {
    const { containers } = this.#deps.parts;
    return this.#describe(containers.list().filter(({ manifest }) => manifest.leftBehind !== undefined));
  }

  #describe(containers: readonly Container[]): Promise<HeldWorkload[]> {
    return Promise.all(
      containers.map(async ({ uid, name }) => ({ uid, workload: name, epoch: await this.#deps.steps.epochOf(uid) })),
    );
  }
}

/** The agent that was to end it was ended first. */
async function endLeft({ manifest: { guardedId } }: Container): Promise<void> {
  const group = guardedId === undefined ? undefined : findGroup(guardedId);
  if (group !== undefined) await endGroup(group);
}
