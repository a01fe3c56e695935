import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createRegistryClient, importVmImage } from "#libs/oci";
import { eventually, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { repository } from "../harness/command.ts";
import { type FailpointAction, FailpointSwitch } from "../harness/failpoint-switch.ts";
import { findGuards, findQemus } from "../harness/qemu-process.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";
import type { Death } from "./dies-at.ts";

/** A cluster of two hosts on this machine, n1 and n2, each with an agent and a data folder of its own. */
export interface TwoHosts extends AsyncDisposable {
  readonly cluster: Cluster;
  /** Those of the services, and of the agent of n1. */
  readonly failpoints: FailpointSwitch;
  /** The VM service, or a host's agent, with the switch of its failpoints alone: both agents come by most of them. */
  victim(who: string, host: string): Pick<Death, "victim" | "failpoints">;
  agent(host: string): SupervisedProcess;
  /** Its data folder. */
  data(host: string): string;
  /** All of the host ends at once: its agent, which stays away until `revive`, its guards and its guests. */
  kill(host: string): Promise<{ revive(this: void): void }>;
}

/**
 * Starts it, with the image linux:guest, and waits until both hosts can run VMs.
 * @param actions what each failpoint does when it is armed, by name
 * @param env added to every service's environment
 */
export async function startTwoHosts(
  actions: Readonly<Record<string, FailpointAction>>,
  env: Readonly<Record<string, string>> = {},
): Promise<TwoHosts> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const failpoints = await FailpointSwitch.create(join(folder, "failpoints"), actions);
  const cluster = stack.use(await startCluster({ ...env, STILLPOINT_FAILPOINTS: failpoints.specification }));
  const ofSecond = await FailpointSwitch.create(join(folder, "failpoints-n2"), actions);
  const data = join(folder, "n2");
  await mkdir(data, { mode: 0o700 });
  const agent = stack.use(startSecond(cluster, data, { ...env, STILLPOINT_FAILPOINTS: ofSecond.specification }));
  const guest = await buildGuest();
  const { disk: file, kernel, initrd, cmdline } = guest;
  const registry = createRegistryClient({ address: cluster.registryUrl });
  await importVmImage({ file, reference: "linux:guest", registry, kernel, initrd, cmdline });
  await eventually(
    async () =>
      (await cluster.api.hosts.listHosts({})).hosts.filter((it) => it.state === "HOST_STATE_READY").length === 2,
    { deadlineMs: 60_000 },
  );
  const owned = stack.move();
  const agents: Readonly<Record<string, SupervisedProcess>> = { n1: cluster.services.agent, n2: agent };
  const dataOf = (host: string) => (host === "n1" ? cluster.agentData : data);
  const agentOf = (host: string) => agents[host] ?? agent;
  return {
    cluster,
    failpoints,
    victim(who, host) {
      if (who === "vm") return { victim: cluster.services.vm, failpoints };
      return { victim: agentOf(host), failpoints: host === "n2" ? ofSecond : failpoints };
    },
    agent: agentOf,
    data: dataOf,
    async kill(host) {
      agentOf(host).hold();
      agentOf(host).kill("SIGKILL");
      await endAllOf(dataOf(host));
      return { revive: () => agentOf(host).release() };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function startSecond(cluster: Cluster, data: string, env: Readonly<Record<string, string>>): SupervisedProcess {
  const second = {
    ...{ ...env, NATS_URL: cluster.nats.url, REGISTRY_HTTP_URL: cluster.registryUrl, LOG_LEVEL: "info" },
    ...{ AGENT_HOST_NAME: "n2", AGENT_DATA: data, AGENT_ADDRESS: `unix:${data}.sock` },
  };
  const script = join(repository, "services/agent/main.ts");
  return SupervisedProcess.start(script, second, join(cluster.folder, "n2.log"));
}

/** Guards and guests of a host. */
async function endAllOf(data: string): Promise<void> {
  const fence = Number(await readFile(join(data, "fence.pid"), "utf8").catch(() => ""));
  const others = [...(await findGuards(data)), ...(await findQemus(data))].map(({ pid }) => pid);
  for (const pid of [fence, ...others]) if (pid > 0) endAtOnce(pid);
}

/** One may have died with another. */
function endAtOnce(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
