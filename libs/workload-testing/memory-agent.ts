import {
  HostAgentDefinition,
  type HostAgentServiceImplementation,
  type RunStepRequest,
  StepResult,
  type Workload,
} from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { type CallScope, RpcServer } from "#libs/rpc";
import { partialService } from "#libs/testing";

/** What an action makes of the workload that it is about; undefined removes it. */
export type Effect = (request: RunStepRequest, before: Workload | undefined) => Workload | undefined;

export interface MemoryAgentOptions {
  readonly effect: Effect;
  /** Adds what else an agent serves. */
  readonly serve?: (server: RpcServer) => void;
}

/** An agent that keeps the promises of Fence and RunStep, over workloads that are only in memory. */
export class MemoryAgent {
  readonly workloads = new Map<string, Workload>();
  /** Every action that had an effect, by its case, in order. */
  readonly effects: { uid: string; action: string }[] = [];
  /** The requests of those, as they came. */
  readonly requests: RunStepRequest[] = [];
  /** Actions that fail, by case, with what is told then. */
  readonly failing = new Map<string, StillpointError>();
  /** Actions that wait, by case, until what is here resolves. */
  readonly holding = new Map<string, Promise<void>>();
  /** uids that GetWorkload was asked for. */
  readonly asked: string[] = [];
  readonly fences: { uid: string; epoch: number; operation: string }[] = [];
  readonly #done = new Map<string, StepResult>();
  readonly #server: RpcServer;
  readonly #effect: Effect;

  constructor({ effect, serve }: MemoryAgentOptions) {
    this.#effect = effect;
    this.#server = new RpcServer({ logger: silentLogger }).add(HostAgentDefinition, serviceOf(this));
    serve?.(this.#server);
  }

  listen(): Promise<string> {
    return this.#server.listen("127.0.0.1:0");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
  }

  /** What it did to one workload, in order: the cases of the actions. */
  effectsOn(uid: string): string[] {
    return this.effects.filter((effect) => effect.uid === uid).map((effect) => effect.action);
  }

  /** Fails with EPOCH_STALE for an epoch below one that was seen. */
  refuseStale({ uid, epoch }: { uid: string; epoch: number }): void {
    const highest = Math.max(0, ...this.fences.filter((fence) => fence.uid === uid).map((fence) => fence.epoch));
    if (epoch < highest) throw new StillpointError("EPOCH_STALE", `epoch ${epoch} of ${uid} is older than ${highest}`);
  }

  /** Does a step once; a repeated one gets the stored answer. */
  async step(request: RunStepRequest): Promise<StepResult> {
    const { uid, operation, step, action } = request;
    this.refuseStale(request);
    if (!this.fences.some((fence) => fence.operation === operation && fence.uid === uid)) {
      throw new StillpointError("INTERNAL", `${operation} did not fence ${uid}`);
    }
    const key = `${operation} ${step}`;
    const known = this.#done.get(key);
    if (known !== undefined) return known;
    await this.holding.get(action?.$case ?? "");
    const failure = this.failing.get(action?.$case ?? "");
    if (failure !== undefined) throw failure;
    this.effects.push({ uid, action: action?.$case ?? "" });
    this.requests.push(request);
    const workload = this.#act(request);
    const result = StepResult.fromPartial(workload === undefined ? {} : { workload });
    this.#done.set(key, result);
    return result;
  }

  #act(request: RunStepRequest): Workload | undefined {
    const { uid } = request;
    const workload = this.#effect(request, this.workloads.get(uid));
    if (workload === undefined) this.workloads.delete(uid);
    else this.workloads.set(uid, workload);
    return workload;
  }

  /** Changes a workload, as if that had happened by itself. */
  set(uid: string, change: Partial<Workload>): Workload {
    const workload = this.workloads.get(uid);
    if (workload === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `nothing here is ${uid}`);
    const changed = { ...workload, startTime: workload.startTime ?? new Date(), ...change };
    this.workloads.set(uid, changed);
    return changed;
  }
}

function serviceOf(agent: MemoryAgent): HostAgentServiceImplementation<CallScope> {
  return partialService<HostAgentServiceImplementation<CallScope>>(HostAgentDefinition, {
    async fence(request) {
      agent.refuseStale(request);
      agent.fences.push(request);
      return {};
    },
    async *runStep(request) {
      yield { update: { $case: "progress", value: { percent: 50, message: request.step } } };
      yield { update: { $case: "result", value: await agent.step(request) } };
    },
    async getWorkload({ uid }) {
      agent.asked.push(uid);
      const workload = agent.workloads.get(uid);
      if (workload === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `nothing here is ${uid}`);
      return workload;
    },
    async *exec({ uid, command }) {
      yield { stdout: new TextEncoder().encode(`${uid}: ${command.join(" ")}\n`) };
      yield { exitCode: 3 };
    },
  });
}
