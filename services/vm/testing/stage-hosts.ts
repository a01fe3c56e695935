import { PushOutcome, Workload, WorkloadState } from "#contracts/host/v1/agent";
import { Host, HostState, type SchedulerClient } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import type { AgentAction, HostAgents } from "#libs/host-agent";
import type { StoredRecord } from "#libs/records";

type ActionCase = NonNullable<AgentAction>["$case"];

/** A host of the stage. */
export interface StageHost {
  /** As its record says. */
  state: HostState;
  /** What the VM is there; undefined: the host has nothing of it. */
  vm: WorkloadState | undefined;
  /** Asked before each action, and "look" before it tells of the VM: it may throw, or wait. */
  answer: (action: ActionCase | "look") => Promise<void> | void;
}

/** That a host does not answer. */
export const away = (): never => {
  throw new StillpointError("HOST_UNREACHABLE", "it does not answer");
};

/** Hosts n1 to n3, of which n1 has a running VM; each test says how they answer. */
export class StageHosts {
  /** What was asked of them, in order: "n2 createVm". */
  readonly asked: string[] = [];
  /** The hosts on which capacity was given back. */
  readonly released: string[] = [];
  readonly #hosts = new Map<string, StageHost>();

  constructor() {
    for (const id of ["n1", "n2", "n3"]) {
      const vm = id === "n1" ? WorkloadState.RUNNING : undefined;
      this.#hosts.set(`hosts/${id}`, { state: HostState.READY, vm, answer: () => undefined });
    }
  }

  /** By id or name. */
  of(host: string): StageHost {
    return this.#hosts.get(host) ?? this.#hosts.get(`hosts/${host}`) ?? away();
  }

  /** A host that nobody hears any more. */
  fail(host: string): void {
    Object.assign(this.of(host), { state: HostState.DOWN, answer: away });
  }

  bringBack(host: string): void {
    Object.assign(this.of(host), { state: HostState.READY, answer: () => undefined });
  }

  async get(name: string): Promise<StoredRecord<Host>> {
    const body = Host.fromPartial({ name, state: this.of(name).state });
    return { name, uid: name, operation: undefined, version: 1, time: new Date(), raw: {}, body };
  }

  get agents(): HostAgents {
    const { asked } = this;
    const agents: Partial<HostAgents> = {
      runStep: async ({ signal }, { host: name }, _step, action) => {
        const kind = action?.$case ?? "createVm";
        asked.push(`${name.slice("hosts/".length)} ${kind}`);
        await untilAborted(signal, this.of(name).answer(kind));
        this.of(name).vm = after(kind, this.of(name).vm);
        return { workload: undefined, checkpoint: undefined, pushed: kind === "pushCheckpoint" ? pushed : undefined };
      },
      getWorkload: async ({ host: name, uid }, signal) => {
        await untilAborted(signal, this.of(name).answer("look"));
        const state = this.of(name).vm;
        return state === undefined ? undefined : Workload.fromPartial({ uid, state });
      },
    };
    return agents as HostAgents;
  }

  /** Places on the first host that may be. */
  get scheduler(): Pick<SchedulerClient, "place" | "release"> {
    return {
      place: async ({ requirements: { notHost = "", notHosts = [] } = {} }) => {
        const [host] = [...this.#hosts].find(([name, { state }]) => {
          return state === HostState.READY && name !== notHost && !notHosts.includes(name);
        }) ?? [""];
        if (host === "") throw new StillpointError("NO_HOST_FITS", "no host fits");
        return { host, agentAddress: "" };
      },
      release: async ({ host = "" }) => {
        this.released.push(host);
        return {};
      },
    };
  }
}

const pushed = PushOutcome.fromPartial({ digest: "sha256:9" });

/** As a call ends that is not wanted any more. */
async function untilAborted(signal: AbortSignal, answer: Promise<void> | void): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  await Promise.race([answer, aborted]);
}

function after(kind: ActionCase, before: WorkloadState | undefined) {
  if (kind === "deleteVm") return undefined;
  if (kind === "createVm" || kind === "stopVm") return WorkloadState.STOPPED;
  return kind === "startVm" ? WorkloadState.RUNNING : before;
}
