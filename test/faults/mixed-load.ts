import { setTimeout as sleep } from "node:timers/promises";
import { CheckpointType } from "#contracts/vm/v1/vm";
import type { Api } from "../harness/api.ts";
import { emptyImage } from "../harness/empty-image.ts";
import { untilDone } from "../harness/vm-client.ts";
import { Watched, wordsOf } from "./watched.ts";

const parent = "projects/default";
const mebibyte = 2 ** 20;

/** What an operation may rightly end with under this load. */
const fair = ["NO_HOST_FITS"] as const;

export interface LoadOptions {
  readonly api: Api;
  readonly random: () => number;
  /** Clients with a VM each that lives and dies over and over. */
  readonly vmClients: number;
  /** Of the VMs; together more than the hosts have makes placement a race. */
  readonly cpus: number;
  /** A VM that stays, for groups. */
  readonly member: string;
}

/**
 * Clients that ask for all kinds of things at once, each of things of its own, through the client library alone: what
 * it cannot repair by itself is a failed request. Remembers what it was answered.
 */
export class MixedLoad {
  readonly counts = { requests: 0, accepted: 0, ended: 0, refused: 0 };
  readonly failures: string[] = [];
  /** Names of the operations that were accepted. */
  readonly accepted = new Set<string>();
  /** Latencies of calls in milliseconds. */
  readonly latencies: number[] = [];
  readonly #options: LoadOptions;
  readonly #stop = new AbortController();
  readonly #watched: Watched;
  #clients: Promise<unknown> = Promise.resolve();
  #number = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#watched = new Watched(options.api, parent);
  }

  start(): void {
    const { vmClients } = this.#options;
    const kinds = [
      ...Array.from({ length: vmClients }, () => () => this.#liveVm()),
      () => this.#keepGroup(),
      () => this.#keepSchedule(),
      () => this.#probe(),
      () => this.#read(),
    ];
    const loops = kinds.map(async (once) => {
      while (!this.#stop.signal.aborted) await once().catch((error: unknown) => this.#fail("client", error));
    });
    this.#clients = Promise.all([...loops, this.#watched.untilStopped()]);
  }

  /** Lets what was begun come to its end. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#watched.stop();
    await this.#clients;
    this.failures.push(...this.#watched.failures);
    Object.assign(this.counts, this.#watched.counts);
  }

  /** Made, put through some of its states, and deleted again. */
  async #liveVm(): Promise<void> {
    const { api, cpus } = this.#options;
    const vmId = `load-${++this.#number}`;
    const name = `${parent}/vms/${vmId}`;
    const spec = { image: emptyImage, cpus, memoryBytes: 64 * mebibyte };
    const start = this.#chance(0.5);
    const made = await this.#operation("createVm", (requestId) =>
      api.vms.createVm({ parent, vmId, spec, start, requestId }),
    );
    if (!made) return;
    if (!start) await this.#operation("startVm", (requestId) => api.vms.startVm({ name, requestId }));
    if (this.#chance(0.5)) await this.#operation("pauseVm", (requestId) => api.vms.pauseVm({ name, requestId }));
    await this.#operation("stopVm", (requestId) => api.vms.stopVm({ name, force: true, requestId }));
    if (this.#chance(0.5)) await this.#checkpoint(name);
    const gone = { name, force: true, withCheckpoints: true, withProtected: true };
    await this.#operation("deleteVm", (requestId) => api.vms.deleteVm({ ...gone, requestId }));
  }

  async #checkpoint(vm: string): Promise<void> {
    const { checkpoints } = this.#options.api;
    const type = CheckpointType.STANDARD;
    await this.#operation("createCheckpoint", (requestId) =>
      checkpoints.createCheckpoint({ parent: vm, type, requestId }),
    );
    const list = await this.#call("listCheckpoints", () => checkpoints.listCheckpoints({ parent: vm }));
    const count = list?.checkpoints.length;
    if (count !== undefined && count !== 1)
      this.failures.push(`I4: ${vm} has ${count} checkpoints after one was asked for`);
  }

  async #keepGroup(): Promise<void> {
    const { api, member } = this.#options;
    const groupId = `group-${++this.#number}`;
    const name = `${parent}/groups/${groupId}`;
    if (!(await this.#call("createGroup", () => api.groups.createGroup({ parent, groupId, members: [member] }))))
      return;
    const found = await this.#call("getGroup", () => api.groups.getGroup({ name }));
    if (found !== undefined && found.members?.join() !== member)
      this.failures.push(`I13: ${name} is not as it was made`);
    await this.#call("deleteGroup", () => api.groups.deleteGroup({ name }));
  }

  async #keepSchedule(): Promise<void> {
    const { schedules } = this.#options.api;
    const scheduleId = `schedule-${++this.#number}`;
    const name = `${parent}/schedules/${scheduleId}`;
    const schedule = { cron: "0 3 * * *", vm: this.#options.member, paused: true, retention: { keepLast: 1 } };
    if (!(await this.#call("createSchedule", () => schedules.createSchedule({ parent, scheduleId, schedule })))) return;
    const changed = { schedule: { name, cron: "0 4 * * *" }, updateMask: ["cron"] };
    await this.#call("updateSchedule", () => schedules.updateSchedule(changed));
    const found = await this.#call("getSchedule", () => schedules.getSchedule({ name }));
    if (found !== undefined && found.cron !== "0 4 * * *") this.failures.push(`I13: ${name} is not as it was changed`);
    await this.#call("deleteSchedule", () => schedules.deleteSchedule({ name }));
  }

  async #probe(): Promise<void> {
    await this.#operation("probe", (requestId) => this.#options.api.operations.probe({ requestId }));
  }

  async #read(): Promise<void> {
    const { vms, operations, hosts, checkpoints } = this.#options.api;
    await this.#call("listVms", () => vms.listVms({ parent }));
    await this.#call("listOperations", () => operations.listOperations({ unfinishedOnly: true }));
    await this.#call("listHosts", () => hosts.listHosts({}));
    await this.#call("listCheckpoints", () => checkpoints.listCheckpoints({ parent: this.#options.member }));
    await sleep(50);
  }

  /** Asks, sometimes twice, and waits for the end; true when it succeeded. */
  async #operation(what: string, ask: (requestId: string) => Promise<{ name?: string }>): Promise<boolean> {
    const requestId = crypto.randomUUID();
    const accepted = await this.#call(what, () => ask(requestId));
    if (accepted === undefined) return false;
    const { name = "" } = accepted;
    this.accepted.add(name);
    this.counts.accepted++;
    if (this.#chance(0.2)) {
      const again = await this.#call(what, () => ask(requestId));
      if (again !== undefined && again.name !== name)
        this.failures.push(`I4: ${what} became ${name} and ${again.name}`);
    }
    const ended = await this.#call(`${what} to its end`, () => untilDone(this.#options.api.operations, name));
    if (ended === undefined) return false;
    this.counts.ended++;
    if (ended.state === "OPERATION_STATE_SUCCEEDED") return true;
    const isFair = fair.some((reason) => reason === ended.error?.reason);
    if (isFair) this.counts.refused++;
    else this.failures.push(`${what}: ${name} ${ended.state}: ${ended.error?.reason}: ${ended.error?.message}`);
    return false;
  }

  async #call<Answer>(what: string, call: () => Promise<Answer>): Promise<Answer | undefined> {
    const start = performance.now();
    this.counts.requests++;
    try {
      return await call();
    } catch (error) {
      this.#fail(what, error);
      return undefined;
    } finally {
      if (!what.endsWith("its end")) this.latencies.push(performance.now() - start);
    }
  }

  #fail(what: string, error: unknown): void {
    this.failures.push(`${what}: ${wordsOf(error)}`);
  }

  #chance(of: number): boolean {
    return this.#options.random() < of;
  }
}
