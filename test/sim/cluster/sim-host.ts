import type { Heartbeat, HeartbeatAck, Workload } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { AgentAction, StepContext } from "#libs/host-agent";
import { noteMade, startsIt } from "../../../services/agent/lease/admit.ts";
import { AwaitedWords } from "../../../services/agent/lease/awaited-words.ts";
import { beat } from "../../../services/agent/lease/heartbeat.ts";
import { Lease } from "../../../services/agent/lease/lease.ts";
import { unconfirmed } from "../../../services/agent/lease/lease-hold.ts";
import { KeptVms, type Machines } from "../kept-vms.ts";
import { machineClock, type SimClock, type SimRandom } from "../sim-clock.ts";
import { type ProcessWorld, SimProcess } from "../sim-process.ts";
import type { ClusterHistory } from "./cluster-history.ts";
import { gib, hostCpus } from "./host-size.ts";
import type { Mutations } from "./mutations.ts";
import { SimGuard } from "./sim-guard.ts";

export interface HostWorld extends ProcessWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly history: ClusterHistory;
  readonly mutations: Mutations;
  /** From a host to every replica; each answers by `answer`. */
  beat(host: SimHost, heartbeat: string, answer: (ack: HeartbeatAck) => void): void;
}

/** An agent between its start and its end. */
interface Agent {
  readonly process: SimProcess;
  readonly lease: Lease;
  readonly awaited: AwaitedWords;
  hearing: Promise<void>;
}

/**
 * A machine: its clock, its disk, the guard that outlives agents, and one agent after the other. Heartbeats and the
 * arithmetic of the lease are the real agent's; VMs only are there or not, and run or not.
 */
export class SimHost {
  readonly id: string;
  readonly guard: SimGuard;
  readonly #world: HostWorld;
  readonly #clock: Clock;
  readonly #vms: KeptVms;
  /** By uid, the highest epoch of an operation that has worked on it. */
  readonly #epochs = new Map<string, number>();
  /** Steps that are done, by <operation>/<step>. */
  readonly #journal = new Set<string>();
  /** The highest epoch of an owner that was written down. */
  #ownerEpoch = 0;
  #agent: Agent | undefined;
  #starts = 0;

  constructor(world: HostWorld, id: string) {
    this.id = id;
    this.#world = world;
    this.#clock = machineClock(world.clock, world.random);
    this.guard = new SimGuard(world, this.#clock, this.name);
    const everything = { push: () => "sha256:0", has: () => true };
    this.#vms = new KeptVms(this.#machines(), everything, () => this.#clock.now());
  }

  get name(): string {
    return `hosts/${this.id}`;
  }

  get isUp(): boolean {
    return this.#agent !== undefined && !this.#agent.process.isDead;
  }

  /** Runs agents, one after the other, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const process = new SimProcess(this.#world, this.#clock);
      await this.#runAgent(process, signal);
      this.#world.history.note(`${this.name}: its agent ends`);
      await this.#world.clock.sleep(100 + this.#world.random.below(4_000));
    }
  }

  /** Its children go on without it. */
  endAgent(): void {
    this.#agent?.process.die();
  }

  /** Nothing that ran on it runs any more. */
  crash(): void {
    this.guard.die();
    this.endAgent();
  }

  async #runAgent(process: SimProcess, signal: AbortSignal): Promise<void> {
    const died = new Promise<void>((resolve) => process.signal.addEventListener("abort", () => resolve()));
    const epoch = this.#world.mutations.forgottenEpochs === true ? 0 : this.#ownerEpoch;
    const lease = new Lease({ hostUid: `uid-${this.id}`, bootId: `${this.id}-start-${++this.#starts}` }, epoch);
    let asks = Promise.withResolvers<void>();
    const ask = () => {
      asks.resolve();
      asks = Promise.withResolvers();
    };
    const awaited = new AwaitedWords({ clock: process.clock, ask });
    const agent: Agent = { process, lease, awaited, hearing: Promise.resolve() };
    this.#agent = agent;
    const beating = beat(
      {
        host: this.id,
        hostUid: `uid-${this.id}`,
        address: `unix:/run/${this.id}.sock`,
        labels: {},
        zone: "",
        capacity: { cpus: hostCpus, memoryBytes: hostCpus * gib, diskBytes: 100 * gib },
        capabilities: () => ["qemu"],
        version: "1",
        workloads: () => this.#vms.uids(),
        lease: {
          bootId: lease.bootId,
          get epoch() {
            return lease.epoch;
          },
          report: async () => ({ held: this.#held(agent), leftBehind: [] }),
          sending: (sequence, held) => {
            const since = held.map(({ uid }) => [uid, this.guard.heldAtMs(uid)] as const);
            lease.sending(sequence, this.#clock.monotonicMs(), new Map(since));
          },
        },
        send: (_subject, json) => void process.port(async () => this.#send(agent, json)),
        urged: () => Promise.race([this.guard.paused, asks.promise]),
        clock: process.clock,
      },
      AbortSignal.any([process.signal, signal]),
    );
    await Promise.race([beating, died]);
  }

  #send(agent: Agent, json: string): void {
    this.#world.beat(this, json, (ack) => {
      agent.hearing = agent.hearing.then(() => this.#hear(agent, ack));
    });
  }

  #held({ awaited }: Agent): Heartbeat["held"] {
    const paused = this.guard.list().filter((uid) => this.guard.heldAtMs(uid) !== undefined);
    return [...new Set([...paused, ...awaited.list()])].map((uid) => {
      return { uid, workload: this.#vms.find(uid)?.definition.name ?? "", epoch: this.#epochs.get(uid) ?? 0 };
    });
  }

  /** As HostLease does it. */
  async #hear({ process, lease, awaited }: Agent, ack: HeartbeatAck): Promise<void> {
    await process.awake();
    const heard = lease.hear(ack, this.#clock.monotonicMs());
    if ("refused" in heard) return this.#world.history.refused(this.name, heard.refused);
    if (heard.epoch > lease.epoch) {
      await process.port(async () => {
        this.#ownerEpoch = Math.max(this.#ownerEpoch, heard.epoch);
      });
    }
    lease.take(heard, ack.sequence, this.#clock.monotonicMs());
    this.#world.history.believed(this.name, heard.epoch);
    this.guard.renew(lease.deadlineMs);
    for (const [uid, sinceMs] of heard.resume) {
      if (sinceMs !== undefined && this.guard.heldAtMs(uid) === sinceMs) this.guard.resume(uid);
    }
    awaited.given(heard.resume.keys());
    for (const uid of heard.end) this.#vms.leaveBehind(uid);
  }

  /** A step of an operation, as the agent carries it out. Fails with EPOCH_STALE and what the agent fails with. */
  async step(context: StepContext, uid: string, step: string, action: AgentAction): Promise<void> {
    const { process } = this.#up();
    this.#fence(uid, context);
    await process.port(async () => undefined);
    this.#fence(uid, context);
    const key = `${context.operationId}/${step}`;
    if (this.#journal.has(key)) return;
    await this.#admit(uid, context, action);
    this.#vms.perform(uid, action);
    this.#journal.add(key);
    this.#world.history.note(`${this.name}: ${action.$case} ${uid} for ${key} at ${context.epoch}`);
  }

  /** As the agent does it. */
  async #admit(uid: string, context: StepContext, action: AgentAction): Promise<void> {
    const { process, lease, awaited } = this.#up();
    const nowMs = this.#clock.monotonicMs();
    const isHere = this.#vms.find(uid) !== undefined;
    const starts = {
      making: () => lease.making(uid, nowMs),
      deleting: () => lease.deleting(uid),
    };
    noteMade(starts, uid, action, isHere);
    if (!isHere || !startsIt(action) || !lease.isValid(nowMs) || this.#mayStart(uid)) return;
    await awaited.wait(uid, process.signal);
    await process.port(async () => undefined);
    this.#fence(uid, context);
  }

  #mayStart(uid: string): boolean {
    return this.#agent?.lease.mayStart(uid, this.#clock.monotonicMs()) === true;
  }

  find(uid: string): Workload | undefined {
    this.#up();
    return this.#vms.describe(uid, this.#epochs.get(uid) ?? 0);
  }

  #up(): Agent {
    if (this.#agent === undefined || this.#agent.process.isDead) {
      throw new StillpointError("HOST_UNREACHABLE", `the agent of ${this.name} does not run`);
    }
    return this.#agent;
  }

  #fence(uid: string, { epoch }: StepContext): void {
    const highest = this.#epochs.get(uid) ?? 0;
    if (epoch < highest) throw new StillpointError("EPOCH_STALE", `${uid} is at ${highest}, not ${epoch}`);
    this.#epochs.set(uid, epoch);
  }

  #machines(): Machines {
    const { guard } = this;
    return {
      has: (uid) => guard.list().includes(uid),
      isHeld: (uid) => guard.heldAtMs(uid) !== undefined,
      start: ({ uid }) => {
        const isValid = this.#agent?.lease.isValid(this.#clock.monotonicMs()) === true;
        if (isValid && !this.#mayStart(uid)) throw unconfirmed(uid);
        if (isValid && guard.start(uid)) return;
        throw new StillpointError("LEASE_EXPIRED", `${this.name} has no lease`);
      },
      end: (uid, why) => guard.end(uid, why),
    };
  }
}
