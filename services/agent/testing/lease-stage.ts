import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NatsConnection } from "@nats-io/transport-node";
import type { VmDefinition } from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../../test/guest/build.ts";
import { AgentProcess } from "./agent-process.ts";
import { TestOwner } from "./owner.ts";
import { isStopped } from "./process-state.ts";
import { cacheImage, vmDefinition } from "./test-host.ts";

interface Opened {
  readonly nats: NatsConnection;
  readonly natsUrl: string;
  readonly data: string;
  readonly image: string;
}

/** An agent with a VM that runs within its host's lease only, and an owner that grants one as it is told to. */
export class LeaseStage implements AsyncDisposable {
  #resources = new AsyncDisposableStack();
  /** The agent's data folder. */
  readonly data: string;
  readonly nats: NatsConnection;
  readonly owner: TestOwner;
  readonly agent: AgentProcess;
  readonly vm: VmDefinition;
  readonly image: string;

  private constructor(opened: Opened) {
    this.data = opened.data;
    this.nats = opened.nats;
    this.image = opened.image;
    this.owner = new TestOwner(opened.nats);
    this.vm = vmDefinition(opened.image, { name: "projects/default/vms/fenced", recovery: Recovery.RESTART });
    this.agent = new AgentProcess({ AGENT_DATA: opened.data, NATS_URL: opened.natsUrl, LOG_LEVEL: "silent" });
  }

  /** The VM runs, and its guest answers. */
  static async open(): Promise<LeaseStage> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(temporaryFolder());
    const server = resources.use(await startNats());
    const nats = await openNats({ url: server.url });
    resources.defer(() => nats.close());
    await openStreams(nats);
    const data = join(folder.path, "agent");
    const image = await cacheImage(data, await buildGuest());
    const stage = new LeaseStage({ nats, natsUrl: server.url, data, image });
    resources.defer(() => stage.#endGuard());
    await stage.agent.start();
    await stage.make(stage.vm);
    await eventually(stage.guestAnswers, { deadlineMs: 60_000 });
    stage.#resources = resources.move();
    return stage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { uid } of (await this.agent.host.client.listWorkloads({})).workloads) {
      await this.agent.host.act(uid, { $case: "deleteVm", value: {} });
    }
    await this.agent.end("SIGTERM");
    await this.#resources.disposeAsync();
  }

  readonly make = async (vm: VmDefinition): Promise<void> => {
    await this.agent.host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
    await this.start(vm);
  };

  /** As soon as there is a lease. */
  readonly start = (vm = this.vm) =>
    eventually(async () => (await this.agent.host.act(vm.uid, { $case: "startVm", value: {} })).workload, {
      deadlineMs: 20_000,
    });

  readonly workload = ({ uid } = this.vm) => this.agent.host.client.getWorkload({ uid });

  readonly guestAnswers = async (): Promise<boolean> =>
    (await this.agent.host.exec(this.vm.uid, "/bin/echo", "up")) === "up\n";

  readonly guardPid = async (): Promise<number> => Number(await readFile(join(this.data, "fence.pid"), "utf8"));

  readonly untilStopped = (pid: number) =>
    eventually(() => isStopped(pid), { deadlineMs: this.owner.ttlMs + 2_000, everyMs: 50 });

  readonly untilRunning = (pid: number) =>
    eventually(
      async () => {
        const { leaseHoldTime, pid: found } = await this.workload();
        return found === pid && leaseHoldTime === undefined && !(await isStopped(pid));
      },
      { deadlineMs: 15_000 },
    );

  /** Where a test has failed before its VMs were deleted, they end with it. */
  async #endGuard(): Promise<void> {
    const pid = await this.guardPid().catch(() => 0);
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("fence-guard.ts")) process.kill(pid, "SIGKILL");
  }
}
