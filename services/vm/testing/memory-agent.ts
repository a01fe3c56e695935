import {
  HostAgentDefinition,
  type HostAgentServiceImplementation,
  type RunStepRequest,
  type StepResult,
  StepResult as StepResultCodec,
  Workload,
  WorkloadState,
} from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { type CallScope, RpcServer } from "#libs/rpc";
import { partialService } from "#libs/testing";

/** An agent that keeps the promises of Fence and RunStep, over workloads that are only in memory. */
export class MemoryAgent {
  readonly workloads = new Map<string, Workload>();
  /** Every action that had an effect, by its case, in order. */
  readonly effects: { uid: string; action: string }[] = [];
  /** Actions that fail, by case, with what is told then. */
  readonly failing = new Map<string, StillpointError>();
  /** Actions that wait, by case, until what is here resolves. */
  readonly holding = new Map<string, Promise<void>>();
  /** uids that GetWorkload was asked for. */
  readonly asked: string[] = [];
  readonly fences: { uid: string; epoch: number; operation: string }[] = [];
  readonly #done = new Map<string, StepResult>();
  readonly #server: RpcServer;

  constructor() {
    this.#server = new RpcServer({ logger: silentLogger }).add(HostAgentDefinition, serviceOf(this));
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
    const workload = this.#act(request);
    const result = StepResultCodec.fromPartial(workload === undefined ? {} : { workload });
    this.#done.set(key, result);
    return result;
  }

  #act({ uid, action }: RunStepRequest): Workload | undefined {
    if (action?.$case === "deleteVm") {
      this.workloads.delete(uid);
      return undefined;
    }
    if (action?.$case === "createVm") {
      const name = action.value.definition?.name ?? "";
      const workload = Workload.fromPartial({ uid, name, state: WorkloadState.STOPPED, machineType: "pc-q35-7.2" });
      this.workloads.set(uid, workload);
      return workload;
    }
    return this.set(uid, states[action?.$case ?? ""] ?? WorkloadState.UNSPECIFIED);
  }

  /** Puts a workload into a state, as if that had happened by itself. */
  set(uid: string, state: WorkloadState): Workload {
    const workload = this.workloads.get(uid);
    if (workload === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `nothing here is ${uid}`);
    const changed = { ...workload, state, startTime: workload.startTime ?? new Date() };
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

const states: Readonly<Record<string, WorkloadState>> = {
  startVm: WorkloadState.RUNNING,
  stopVm: WorkloadState.STOPPED,
  pauseVm: WorkloadState.PAUSED,
  resumeVm: WorkloadState.RUNNING,
  rebootVm: WorkloadState.RUNNING,
};
