import { randomUUID } from "node:crypto";
import type { HostAgentServiceImplementation } from "#contracts/host/v1/agent";
import { HostAgentDefinition } from "#contracts/host/v1/agent";
import { type Clock, systemClock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { type CallScope, RpcServer } from "#libs/rpc";
import { KeptVms, type Parcels } from "../kept-vms.ts";
import { FleetAgent, type HostLine, type HostState, type Manners } from "./fleet-agent.ts";
import { FleetMachines } from "./fleet-machines.ts";
import { MemoryLines } from "./memory-lines.ts";
import type { RunLedger } from "./run-ledger.ts";

export interface FleetHostDeps {
  readonly line: HostLine;
  readonly manners: Manners;
  readonly ledger: RunLedger;
  readonly parcels: Parcels;
  readonly random: () => number;
  readonly logger: Logger;
}

export interface FleetHostOptions {
  readonly id: string;
  /** What the ledger of what runs knows it as; hosts/<id> if unsaid, which is no other one's. */
  readonly knownAs?: string;
  /** Its own address on the loopback; the port is any free one. */
  readonly ip: string;
  readonly said: Omit<HostState["said"], "address">;
  /** How far its wall clock is ahead. */
  readonly aheadMs: number;
}

type Api = ReturnType<FleetAgent["api"]>;

/**
 * A simulated host: an address of its own at which its agent answers, what outlives agents, and one agent after the other.
 * While its agent is dead calls to it fail at once; while it has no power, or is cut off, they are not answered at all.
 */
export class FleetHost implements HostState {
  readonly id: string;
  readonly uid = `host-${randomUUID()}`;
  readonly clock: Clock;
  readonly vms: KeptVms;
  readonly machines: FleetMachines;
  readonly observed = new MemoryLines();
  ownerEpoch = 0;
  said: HostState["said"];
  isCut = false;
  readonly #deps: FleetHostDeps;
  readonly #journals = new Map<string, MemoryLines>();
  readonly #server: RpcServer;
  readonly #ip: string;
  #hasPower = true;
  #agent: FleetAgent | undefined;
  #api: Api | undefined;

  constructor(deps: FleetHostDeps, { id, knownAs, ip, said, aheadMs }: FleetHostOptions) {
    this.#deps = deps;
    this.id = id;
    this.#ip = ip;
    this.said = { ...said, address: "" };
    this.clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
    const { ledger, random } = deps;
    this.machines = new FleetMachines({ host: knownAs ?? this.name, clock: this.clock, ledger, random });
    this.vms = new KeptVms(this.machines, deps.parcels, () => this.clock.now());
    this.#server = new RpcServer({ logger: deps.logger });
    this.#server.add(HostAgentDefinition, this.#handlers());
    ledger.knows(knownAs ?? this.name, this);
  }

  get name(): string {
    return `hosts/${this.id}`;
  }

  get hasPower(): boolean {
    return this.#hasPower;
  }

  runsNow(uid: string): boolean {
    return this.machines.runsNow(uid);
  }

  journalOf(uid: string): MemoryLines {
    const journal = this.#journals.get(uid) ?? new MemoryLines();
    this.#journals.set(uid, journal);
    return journal;
  }

  forgetJournal(uid: string): void {
    this.#journals.delete(uid);
  }

  /** Opens its address, at which no agent answers yet. */
  async open(): Promise<void> {
    const address = await this.#server.listen(`${this.#ip}:0`);
    this.said = { ...this.said, address };
  }

  /** Ends what runs of an agent first. */
  async startAgent(): Promise<void> {
    this.killAgent();
    const { line, manners, logger } = this.#deps;
    this.#agent = await FleetAgent.start({ host: this, line, manners, logger });
    this.#api = this.#agent.api();
  }

  /** What runs goes on without it. */
  killAgent(): void {
    this.#agent?.die();
    this.#agent = undefined;
    this.#api = undefined;
  }

  /** Nothing that ran on it runs any more; what was written down is there when the power is back. */
  losePower(): void {
    this.#hasPower = false;
    this.killAgent();
    for (const vm of this.vms.list()) vm.hasCrashed ||= this.machines.has(vm.uid);
    this.machines.die();
  }

  async getPower(): Promise<void> {
    this.#hasPower = true;
    await this.startAgent();
  }

  async close(): Promise<void> {
    this.killAgent();
    this.#hasPower = true;
    this.isCut = false;
    await this.#server.close();
  }

  #handlers(): HostAgentServiceImplementation<CallScope> {
    const answer = <Answer>(scope: CallScope, work: (api: Api) => Promise<Answer>) => this.#answer(scope, work);
    const reach = (scope: CallScope) => this.#reach(scope);
    const unlessDead = this.#unlessDead.bind(this);
    const notSimulated = () => {
      throw new StillpointError("CAPABILITY_MISSING", "a simulated host has no guests");
    };
    return {
      fence: (request, scope) => answer(scope, async (api) => await api.fence(request, scope)),
      getWorkload: (request, scope) => answer(scope, async (api) => await api.getWorkload(request, scope)),
      listWorkloads: (request, scope) => answer(scope, async (api) => await api.listWorkloads(request, scope)),
      keepRecords: (request, scope) => answer(scope, async (api) => await api.keepRecords(request, scope)),
      async *runStep(request, scope) {
        const { agent, api } = await reach(scope);
        try {
          const signal = AbortSignal.any([scope.signal, agent.signal]);
          yield* api.runStep(request, { ...scope, signal });
        } catch (error) {
          throw await unlessDead(agent, scope, error);
        }
      },
      inspectReadiness: notSimulated,
      exec: notSimulated,
      listManifests: notSimulated,
    };
  }

  async #answer<Answer>(scope: CallScope, work: (api: Api) => Promise<Answer>): Promise<Answer> {
    const { agent, api } = await this.#reach(scope);
    try {
      return await work(api);
    } catch (error) {
      throw await this.#unlessDead(agent, scope, error);
    }
  }

  /** The agent that runs; whoever calls a host that is silent waits until he gives up. */
  async #reach({ signal }: CallScope): Promise<{ readonly agent: FleetAgent; readonly api: Api }> {
    if (!this.#hasPower || this.isCut) await untilAborted(signal);
    const agent = this.#agent;
    const api = this.#api;
    if (agent !== undefined && api !== undefined) return { agent, api };
    throw new StillpointError("UNAVAILABLE", `the agent of ${this.name} does not run`);
  }

  /** What comes of a call under which the agent has died is not the agent's own error. */
  async #unlessDead(agent: FleetAgent, scope: CallScope, error: unknown): Promise<unknown> {
    if (!agent.signal.aborted) return error;
    if (!this.#hasPower) await untilAborted(scope.signal);
    return new StillpointError("UNAVAILABLE", `the agent of ${this.name} has died`);
  }
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const leave = () => reject(signal.reason as Error);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });
}
