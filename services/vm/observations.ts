import type { Observation } from "#contracts/host/v1/agent";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { RecordStore, StoredRecord } from "#libs/records";
import { type Folded, foldObserved, foldStorage, observed, type Readiness, tellOfLease } from "#libs/workloads";
import { hasGuest } from "./domain/vm-state.ts";
import { foldGuestAgent, foldWorkload, vmEvent } from "./vm-record.ts";

export interface ObservationsDeps {
  readonly vms: RecordStore<Vm>;
  readonly agents: HostAgents;
  readonly readiness: Readiness<Vm>;
}

/** From this attempt on the host is believed, whatever was seen before; but that a VM is paused. */
const believedAtAttempt = 4;

/**
 * Folds what agents saw into the records of VMs, also while an operation holds them; never touches who holds them.
 * An observation may come late or twice, and each to another replica. So it is only the reason to ask the host how it
 * is now.
 */
export class Observations {
  readonly #deps: ObservationsDeps;

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
        return this.#foldGuestAgent(stored, observation, attempt);
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
    const { agents } = this.#deps;
    const { host, uid, happened, reason } = observation;
    // The operation that makes or removes it reads the host's state itself, at its end.
    if (!isWhole(stored.body)) return true;
    const workload = await agents.getWorkload({ host, uid }, AbortSignal.timeout(askWithinMs));
    if (workload === undefined) return true;
    const { body, events } = foldWorkload(stored.body, workload, reason);
    if (body.state === stored.body.state) return true;
    // Something is on its way: it is looked at again before an old word, or half a change, becomes an event.
    const isAsSeen = happened?.$case === "state" && happened.value === workload.state;
    // A checkpoint pauses it for a moment that nobody tells of: a record says PAUSED only when somebody has told so.
    const maySoonPass = attempt < believedAtAttempt || body.state === VmState.PAUSED;
    if (!isAsSeen && maySoonPass) return false;
    return this.#write(stored, { body, events }, () => this.fold(observation, attempt));
  }

  async #foldGuestAgent(stored: StoredRecord<Vm>, observation: Observation, attempt: number): Promise<boolean> {
    const { agents } = this.#deps;
    const { body, operation } = stored;
    const { host, uid } = observation;
    const workload = await agents.getWorkload({ host, uid }, AbortSignal.timeout(askWithinMs));
    if (workload?.guestAgent === undefined) return true;
    const { guestAgent } = workload;
    const before = body.guestAgent ?? { connected: false, version: "" };
    const isSame = before.connected === guestAgent.connected && before.version === guestAgent.version;
    // While an operation holds it the guest may be up before the record says so.
    const isLate = guestAgent.connected && !hasGuest(body.state) && operation === undefined;
    if (isSame || isLate) return true;
    return this.#write(stored, foldGuestAgent(body, guestAgent), () => this.fold(observation, attempt));
  }

  /** What the host said may be older than what someone else has written meanwhile: then it is asked again. */
  async #write(stored: StoredRecord<Vm>, change: Folded<Vm>, again: () => Promise<boolean>): Promise<boolean> {
    try {
      await this.#deps.vms.update(stored, change);
      return true;
    } catch (error) {
      if (isStillpointError(error, "RECORD_CONFLICT")) return again();
      throw error;
    }
  }

  async #tell({ workload, uid, reason }: Observation, happened: string): Promise<boolean> {
    await this.#deps.vms.modify(workload, ({ body }) =>
      body.uid === uid ? { events: [vmEvent(happened, body, { reason })] } : undefined,
    );
    return true;
  }
}

const askWithinMs = 2_000;

const isWhole = ({ state }: Vm): boolean =>
  state !== VmState.CREATING && state !== VmState.DELETING && state !== VmState.FAILED;
