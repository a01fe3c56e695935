import { setTimeout as sleep } from "node:timers/promises";
import { Host, type HostProblem } from "#contracts/scheduler/v1/scheduler";
import { Recovery, Vm } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { emptyImage, importEmpty } from "../harness/empty-image.ts";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { type Fleet, startFleet } from "../sim/fleet/fleet.ts";
import type { FleetHost } from "../sim/fleet/fleet-host.ts";
import type { FaultRun } from "./fault-run.ts";
import { LogsHistory } from "./logs-history.ts";
import { carryThrough } from "./patient-api.ts";

/** A VM of the load, as it was asked for. */
export interface FleetVm {
  readonly name: string;
  readonly uid: string;
  readonly isRecovered: boolean;
}

const parent = "projects/default";
const gib = 2 ** 30;
/** Two fit on a host. */
const cpusOfVm = 30;
const clients = 32;
const hour = 3_600_000;
/** One host in so many has a clock that is hours wrong. */
export const skewedEach = 40;

/** A simulated fleet before a real control plane, and a reader of all that is written. */
export class FleetStage implements AsyncDisposable {
  readonly cluster: ReplicatedCluster;
  readonly fleet: Fleet;
  readonly history: LogsHistory;
  readonly vms: FleetVm[] = [];
  readonly #stack: AsyncDisposableStack;
  #next = 0;

  private constructor(cluster: ReplicatedCluster, fleet: Fleet, history: LogsHistory, stack: AsyncDisposableStack) {
    this.cluster = cluster;
    this.fleet = fleet;
    this.history = history;
    this.#stack = stack;
  }

  /** All hosts' agents start at the same moment. */
  static async set(run: FaultRun, { hosts, schedulers }: { hosts: number; schedulers: number }): Promise<FleetStage> {
    await using stack = new AsyncDisposableStack();
    const env = { LOG_LEVEL: "warn", CPU_OVERCOMMIT: "1" };
    const replicasOf = { scheduler: schedulers };
    const cluster = stack.use(await startReplicatedCluster({ replicas: 1, replicasOf, hosts: [], env }));
    const history = stack.use(await LogsHistory.follow(cluster.nats.url));
    await importEmpty(cluster);
    const fleet = stack.use(
      await startFleet({
        ...{ natsUrl: cluster.nats.url, hosts, startWithinMs: 0, random: run.random },
        aheadMsOf: (index) => (index % skewedEach === 0 ? (index % 80 === 0 ? 5 : -5) * hour : 0),
        durationMs: (action) => (action === "receiveCheckpoint" ? 200 : 5),
        // One recovery in fifty has to try a second host.
        fails: (action) => action === "receiveCheckpoint" && run.random() < 0.02,
        note: (line) => run.note(line),
      }),
    );
    return new FleetStage(cluster, fleet, history, stack.move());
  }

  /** What the log says of a host; undefined before it says anything. */
  hostRecord(name: string): Host | undefined {
    const body = this.history.records.get(name)?.body;
    return body === undefined ? undefined : Host.fromJSON(body);
  }

  problemsOf(host: FleetHost): readonly HostProblem[] {
    return this.hostRecord(host.name)?.problems ?? [];
  }

  untilProblem(host: FleetHost, reason: string, isThere = true): Promise<true> {
    const has = () => this.problemsOf(host).some((problem) => problem.reason === reason);
    return eventually(() => has() === isThere, { deadlineMs: 20_000 });
  }

  countIn(state: string, hosts: readonly FleetHost[] = this.fleet.hosts): number {
    const stateOf = (name: string) => (this.history.records.get(name)?.body as { state?: string } | undefined)?.state;
    return hosts.filter(({ name }) => stateOf(name) === state).length;
  }

  vmRecord({ name }: Pick<FleetVm, "name">): Vm {
    return Vm.fromJSON(this.history.records.get(name)?.body ?? {});
  }

  hostOf(vm: Pick<FleetVm, "name">): string {
    return this.vmRecord(vm).host;
  }

  /** Made and started; of three two are to be recovered. */
  async makeVms(count: number): Promise<void> {
    const waiting = Array.from({ length: count }, () => this.#next++);
    const client = async () => {
      for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
        const isRecovered = index % 3 !== 0;
        this.vms.push({ ...(await this.#makeVm(`fleet-${index}`, isRecovered)), isRecovered });
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
  }

  async #makeVm(vmId: string, isRecovered: boolean): Promise<Pick<FleetVm, "name" | "uid">> {
    const recovery = isRecovered ? Recovery.RESTART : Recovery.NONE;
    const spec = { image: emptyImage, cpus: cpusOfVm, memoryBytes: 4 * gib, recovery };
    const { api } = this.cluster;
    await carryThrough(this.cluster, (requestId) => api.vms.createVm({ parent, vmId, spec, start: true, requestId }));
    const { name, uid } = await api.vms.getVm({ name: `${parent}/vms/${vmId}` });
    return { name, uid };
  }

  /** Until each VM that is to be recovered has a point in the registry. */
  untilPoints(deadlineMs: number): Promise<true> {
    const hasPoint = ({ name }: FleetVm) => {
      const body = this.history.records.get(`${name}/recovery`)?.body as { point?: { reference?: string } } | undefined;
      return (body?.point?.reference ?? "") !== "";
    };
    const without = () => this.vms.filter((vm) => vm.isRecovered && !hasPoint(vm)).length;
    return eventually(() => without() === 0, { deadlineMs, everyMs: 100 });
  }

  /** How often each VM was recovered so far, by name. */
  recoveries(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { kind, state, target } of this.history.operations.values()) {
      if (kind === "vm.recover" && state === "succeeded") counts.set(target, (counts.get(target) ?? 0) + 1);
    }
    return counts;
  }

  /** What is not as it must be once nothing goes wrong any more; empty when all is. */
  unsettled(): string[] {
    const away = this.fleet.hosts.length - this.countIn("HOST_STATE_READY");
    const open = [...this.history.operations.values()].filter(
      ({ state }) => state === "pending" || state === "running",
    );
    const wrong = this.vms.flatMap((vm) => this.#wrongWith(vm) ?? []);
    return [...(away > 0 ? [`${away} hosts are not ready`] : []), ...open.map(({ id }) => `${id} goes on`), ...wrong];
  }

  #wrongWith(vm: FleetVm): string | undefined {
    const { host, state, operation } = this.vmRecord(vm);
    const on = this.fleet.ledger.runningOn(vm.uid);
    if (operation !== "") return `${vm.name} is held by ${operation}`;
    // What nobody recovers ends with its host's power.
    if (!vm.isRecovered && state === "VM_STATE_CRASHED" && on.length === 0) return undefined;
    if (state === "VM_STATE_RUNNING" && on.length === 1 && on[0] === host) return undefined;
    return `${vm.name} is ${state} on ${host}, and runs on ${on.join() || "nothing"}`;
  }

  /** Kills a replica of the scheduler, again and again, until it is told to end. */
  killSchedulers(run: FaultRun, everyMs: number): AsyncDisposable {
    const ended = new AbortController();
    const killing = (async () => {
      while (!ended.signal.aborted) {
        const { name, process } = run.pick(this.cluster.replicas.scheduler);
        run.fault("kill", name);
        process.kill("SIGKILL");
        await sleep(everyMs, undefined, { signal: ended.signal }).catch(() => undefined);
      }
    })();
    return {
      async [Symbol.asyncDispose]() {
        ended.abort();
        await killing;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
