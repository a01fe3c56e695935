import { randomUUID } from "node:crypto";
import type { JetStreamClient } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type HostAgentServiceImplementation,
  type StepResult,
  type Workload,
  WorkloadState,
} from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { CallScope } from "#libs/rpc";
import { noteMade, startsIt, takesBack } from "../../../services/agent/lease/admit.ts";
import { beat, type HeartbeatDeps } from "../../../services/agent/lease/heartbeat.ts";
import { HostLease } from "../../../services/agent/lease/host-lease.ts";
import { Lease } from "../../../services/agent/lease/lease.ts";
import type { LivelyConnection } from "../../../services/agent/lease/lively-connection.ts";
import { asksOver } from "../../../services/agent/lease/start-heartbeat.ts";
import { Observations } from "../../../services/agent/observations.ts";
import { stepHandlers } from "../../../services/agent/steps/step-handlers.ts";
import { type StepAction, type StepContext, StepRunner } from "../../../services/agent/steps/step-runner.ts";
import type { Happened } from "../../../services/agent/workload.ts";
import type { KeptVms } from "../kept-vms.ts";
import type { FleetMachines } from "./fleet-machines.ts";
import { LeasedKeptVms } from "./leased-vms.ts";
import type { MemoryLines } from "./memory-lines.ts";
import { digestOf } from "./memory-parcels.ts";

/** The connection to NATS that a host shares with others. */
export interface HostLine {
  readonly nats: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly line: LivelyConnection;
}

/** How long an action takes, and whether it fails; for every action of every host. */
export interface Manners {
  readonly durationMs: (action: StepAction["$case"]) => number;
  readonly fails: (action: StepAction["$case"]) => boolean;
}

/** What outlives the agents of a host. */
export interface HostState {
  readonly id: string;
  readonly uid: string;
  readonly clock: Clock;
  readonly vms: KeptVms;
  readonly machines: FleetMachines;
  readonly observed: MemoryLines;
  /** The journal of a workload. */
  journalOf(uid: string): MemoryLines;
  forgetJournal(uid: string): void;
  /** The highest epoch of an owner that was believed. */
  ownerEpoch: number;
  /** What it says of itself in heartbeats; may change at any time. */
  readonly said: Pick<HeartbeatDeps, "address" | "labels" | "zone" | "capacity">;
  /** Nothing comes out of it, and nothing in. */
  readonly isCut: boolean;
}

export interface FleetAgentDeps {
  readonly host: HostState;
  readonly line: HostLine;
  readonly manners: Manners;
  readonly logger: Logger;
}

type Api = HostAgentServiceImplementation<CallScope>;

/** One life of a simulated host's agent: all that the real one has in memory, made of the real one's own parts. */
export class FleetAgent {
  readonly #deps: FleetAgentDeps;
  readonly #ended = new AbortController();
  readonly #steps: StepRunner;
  readonly #lease: HostLease;
  readonly #observations: Observations;

  private constructor(deps: FleetAgentDeps, observations: Observations) {
    this.#deps = deps;
    this.#observations = observations;
    const { host, logger } = deps;
    const { vms, clock } = host;
    const linesOf = (uid: string) => host.journalOf(uid).openedBy(this.signal);
    const journals = { linesOf, remove: async (uid: string) => host.forgetJournal(uid) };
    this.#steps = new StepRunner(journals, (...step) => this.#perform(...step), nothingToHold);
    const saveEpoch = async (epoch: number) => {
      host.ownerEpoch = epoch;
    };
    this.#lease = new HostLease({
      lease: new Lease({ hostUid: host.uid, bootId: randomUUID() }, host.ownerEpoch),
      fence: host.machines.fence(),
      clock: () => clock.monotonicMs(),
      timer: clock,
      workloads: new LeasedKeptVms({ vms, observations, steps: this.#steps, clock }),
      ...{ saveEpoch, logger },
    });
  }

  static async start(deps: FleetAgentDeps): Promise<FleetAgent> {
    const { host, line, logger } = deps;
    const ended = new AbortController();
    const observations = await Observations.open(host.observed.openedBy(ended.signal), {
      host: `hosts/${host.id}`,
      hostUid: host.uid,
      async publish(subject, json, msgID) {
        if (host.isCut) throw new Error("the host is cut off");
        await line.jetstream.publish(subject, json, { msgID });
      },
      ...{ clock: host.clock, logger },
    });
    const agent = new FleetAgent(deps, observations);
    agent.signal.addEventListener("abort", () => {
      ended.abort(agent.signal.reason);
      observations.close().catch(() => undefined);
    });
    agent.#adopt();
    agent.#beat();
    return agent;
  }

  /** Aborted when it is dead. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** kill -9: what it was about ends in the middle. */
  die(): void {
    this.#ended.abort(new DOMException("the agent is dead", "AbortError"));
    this.#lease.close().catch(() => undefined);
  }

  /** Every method of the agent's API that something asks a host of VMs for. */
  api(): Pick<Api, "fence" | "runStep" | "getWorkload" | "listWorkloads" | "keepRecords"> {
    const { vms, clock, id } = this.#deps.host;
    const steps = this.#steps;
    const describe = (uid: string, epoch: number) => vms.describe(uid, epoch);
    return {
      ...stepHandlers({ steps, describe, clock, host: `hosts/${id}` }),
      async getWorkload({ uid }) {
        const workload = vms.describe(uid, await steps.epochOf(uid));
        if (workload === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `there is no ${uid} here`);
        return workload;
      },
      async listWorkloads() {
        const described = vms.uids().map(async (uid) => vms.describe(uid, await steps.epochOf(uid)) ?? []);
        return { workloads: (await Promise.all(described)).flat() };
      },
      async keepRecords({ uid }) {
        return { kept: uid === "" || vms.find(uid) !== undefined };
      },
    };
  }

  async #perform({ uid, epoch, signal }: StepContext, action: StepAction): Promise<StepResult> {
    const { host, manners } = this.#deps;
    const whileNeeded = AbortSignal.any([signal, this.signal]);
    while (takesBack.has(action.$case) && host.machines.isHeld(uid)) await host.clock.sleep(heldMs, whileNeeded);
    await this.#admit(uid, action, whileNeeded);
    await host.clock.sleep(manners.durationMs(action.$case), this.signal);
    if (manners.fails(action.$case)) throw new StillpointError("QEMU_FAILED", "a failure that is simulated");
    const before = host.vms.describe(uid, epoch);
    const answer = host.vms.perform(uid, action);
    const workload = host.vms.describe(uid, epoch);
    if (workload !== undefined) this.#tell(workload, before, action);
    return { workload, ...answer };
  }

  /** As the real agent does it. */
  async #admit(uid: string, action: StepAction, signal: AbortSignal): Promise<void> {
    const vm = this.#deps.host.vms.find(uid);
    noteMade(this.#lease, uid, action, vm !== undefined);
    if (vm === undefined || vm.definition.recovery !== Recovery.RESTART || !startsIt(action)) return;
    await this.#lease.confirm({ uid, name: vm.definition.name }, signal);
  }

  /** What the real agent sees of a VM, and tells, after such a step. */
  #tell(workload: Workload, before: Workload | undefined, action: StepAction): void {
    const tell = (happened: Happened) => this.#observations.add(workload, happened);
    const { state, guestAgent } = workload;
    const was = before?.state ?? WorkloadState.STOPPED;
    if (state !== was) tell({ state, reason: "simulated" });
    if (state === WorkloadState.RUNNING && was === WorkloadState.STOPPED && guestAgent) tell({ guestAgent });
    const taken = action.$case.startsWith("take") ? workload.head : "";
    if (taken !== "" && taken !== before?.head) {
      tell({ digests: { checkpointUid: taken, digests: { root: digestOf(taken) } } });
    }
  }

  /** What has ended while there was no agent is told. */
  #adopt(): void {
    for (const { uid, hasCrashed, leftBehind, definition } of this.#deps.host.vms.list()) {
      if (!hasCrashed || leftBehind) continue;
      const reason = "it ended while the agent was away";
      this.#observations.add({ uid, name: definition.name }, { state: WorkloadState.CRASHED, reason });
    }
  }

  #beat(): void {
    const { host, line, logger } = this.#deps;
    const lease = this.#lease;
    const hear: HostLease["hear"] = async (ack) => {
      if (!host.isCut && !this.signal.aborted) await lease.hear(ack);
    };
    const send = asksOver({ ...line, lease: { hear }, logger });
    const beating = beat(
      {
        ...{
          host: host.id,
          hostUid: host.uid,
          version: "simulated",
          clock: host.clock,
          lease,
          address: host.said.address,
        },
        get labels() {
          return host.said.labels;
        },
        get zone() {
          return host.said.zone;
        },
        get capacity() {
          return host.said.capacity;
        },
        capabilities: () => ["qemu", "accelerator:simulated"],
        workloads: () => host.vms.uids(),
        send: (subject, json) => {
          if (!host.isCut) send(subject, json);
        },
        urged: () => Promise.race([line.line.returned, lease.asks]),
      },
      this.signal,
    );
    beating.catch((error: unknown) => logger.error({ err: error, host: host.id }, "a heartbeat has stopped"));
  }
}

/** How often it is looked whether a VM goes on. */
const heldMs = 200;

const nothingToHold = async () => ({ [Symbol.dispose]: () => undefined });
