import type { Observation } from "#contracts/host/v1/agent";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { RecordStore, StoredRecord } from "#libs/records";
import { foldObserved, foldStorage, observed, type Readiness, tellOfLease } from "#libs/workloads";
import { hasGuest } from "./domain/vm-state.ts";
import { foldGuestAgent, foldWorkload, vmEvent } from "./vm-record.ts";

export interface ObservationsDeps {
  readonly vms: RecordStore<Vm>;
  readonly agents: HostAgents;
  readonly readiness: Readiness<Vm>;
}

/** From this attempt on the host is believed, whatever was seen before. */
const believedAtAttempt = 4;
const rememberedWorkloads = 10_000;

/**
 * Folds what agents saw into the records of VMs, also while an operation holds them; never touches who holds them.
 * An observation may come late or twice. So a change of state is only the reason to ask the host how it is now, and
 * of the guest's agent, which has to be told quickly, the newest word counts.
 */
export class Observations {
  readonly #deps: ObservationsDeps;
  /** Newest sequence about the guest's agent by workload and host, as far as this replica saw it. */
  readonly #newest = new Map<string, number>();

  constructor(deps: ObservationsDeps) {
    this.#deps = deps;
  }

  /**
   * False when it has to be tried again later: the VM has no host yet, or the host says something else than it saw.
   * `attempt` counts from 1.
   */
  async fold(observation: Observation, attempt = 1): Promise<boolean> {
    const { happened } = observation;
    if (happened?.$case === "lease") return tellOfLease(this.#deps.vms, { word: "vm" }, observation, happened.value);
    const stored = await observed(this.#deps.vms, observation);
    if (stored === "nobody" || stored === "early") return stored === "nobody";
    return this.#foldHappened(stored, observation, attempt);
  }

  async #foldHappened(stored: StoredRecord<Vm>, observation: Observation, attempt: number): Promise<boolean> {
    const { happened } = observation;
    switch (happened?.$case) {
      case "state":
        return this.#foldState(stored, observation, attempt);
      case "guestAgent":
        return this.#foldGuestAgent(observation, happened.value);
      case "foundFrozen":
        return this.#tell(observation, "found_frozen");
      case "readiness": {
        const { value: readiness } = happened;
        return foldObserved(this.#deps.vms, observation, (vm) => this.#deps.readiness.fold(vm, readiness));
      }
      case "storage": {
        const { value: storage } = happened;
        return foldObserved(this.#deps.vms, observation, (vm) => foldStorage(vm, storage));
      }
      case "digests":
      case "container":
      case "lease":
      case undefined:
        return true;
    }
  }

  async #foldState(stored: StoredRecord<Vm>, observation: Observation, attempt: number): Promise<boolean> {
    const { vms, agents } = this.#deps;
    const { host, uid, happened, reason } = observation;
    // The operation that makes or removes it reads the host's state itself, at its end.
    if (!isWhole(stored.body)) return true;
    const workload = await agents.getWorkload({ host, uid }, AbortSignal.timeout(askWithinMs));
    if (workload === undefined) return true;
    const { body, events } = foldWorkload(stored.body, workload, reason);
    if (body.state === stored.body.state) return true;
    // Something is on its way: it is looked at again before an old word, or half a change, becomes an event.
    const isAsSeen = happened?.$case === "state" && happened.value === workload.state;
    if (!isAsSeen && attempt < believedAtAttempt) return false;
    try {
      await vms.update(stored, { body, events });
      return true;
    } catch (error) {
      // Someone else wrote meanwhile: what the host said may be older than that.
      if (isStillpointError(error, "RECORD_CONFLICT")) return this.fold(observation, attempt);
      throw error;
    }
  }

  async #foldGuestAgent(observation: Observation, guestAgent: NonNullable<Vm["guestAgent"]>): Promise<boolean> {
    const { workload, uid, host, sequence } = observation;
    if (!this.#isNewest(`${host} ${uid}`, sequence)) return true;
    await this.#deps.vms.modify(workload, ({ body, operation }) => {
      const before = body.guestAgent ?? { connected: false, version: "" };
      const isSame = before.connected === guestAgent.connected && before.version === guestAgent.version;
      // While an operation holds it the guest may be up before the record says so.
      const isLate = guestAgent.connected && !hasGuest(body.state) && operation === undefined;
      if (body.uid !== uid || isSame || isLate) return undefined;
      return foldGuestAgent(body, guestAgent);
    });
    return true;
  }

  async #tell({ workload, uid, reason }: Observation, happened: string): Promise<boolean> {
    await this.#deps.vms.modify(workload, ({ body }) =>
      body.uid === uid ? { events: [vmEvent(happened, body, { reason })] } : undefined,
    );
    return true;
  }

  #isNewest(workload: string, sequence: number): boolean {
    if (sequence < (this.#newest.get(workload) ?? 0)) return false;
    this.#newest.delete(workload);
    this.#newest.set(workload, sequence);
    const [oldest] = this.#newest.keys();
    if (this.#newest.size > rememberedWorkloads && oldest !== undefined) this.#newest.delete(oldest);
    return true;
  }
}

const askWithinMs = 2_000;

const isWhole = ({ state }: Vm): boolean =>
  state !== VmState.CREATING && state !== VmState.DELETING && state !== VmState.FAILED;
