import { setTimeout as sleep } from "node:timers/promises";
import { Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { openNats, openStreams, RecordView } from "#libs/records";
import { eventually, startNatsCluster } from "#libs/testing";
import { importEmpty } from "../../harness/empty-image.ts";
import { startReplicatedCluster } from "../../harness/replicated-cluster.ts";
import { EventsLag } from "./events-lag.ts";
import { type Fleet, startFleet } from "./fleet.ts";
import { type Costs, costsBetween, readCosts } from "./process-costs.ts";
import { VmLoad, type VmLoadOptions } from "./vm-load.ts";

export interface LoadOptions extends Omit<VmLoadOptions, "api"> {
  readonly hosts: number;
  /** Of every service. */
  readonly replicas: number;
  /** 1 or 3. */
  readonly natsNodes: number;
  /** Whether a single NATS syncs each write, as in production; three do. */
  readonly syncAlways: boolean;
  /** Over how long agents start; 0: all at once. */
  readonly startWithinMs: number;
  /** Fails when all of it is to end early; everything is cleaned up then. */
  readonly interrupted?: Promise<never>;
}

export interface LoadResult {
  readonly readySeconds: number;
  readonly createSeconds: number;
  readonly made: Pick<VmLoad, "latencies" | "failures">;
  /** From an event's record to its arrival at a client, in milliseconds. */
  readonly eventLags: readonly number[];
  /** What each process took while VMs were made. */
  readonly busy: Costs;
  /** And while hosts only spoke. */
  readonly idle: Costs;
}

const idleMs = 10_000;

/** Starts a control plane and a simulated fleet, has VMs made, and says what that took. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  await using stack = new AsyncDisposableStack();
  const { interrupted } = options;
  return await Promise.race([load(options, stack), ...(interrupted === undefined ? [] : [interrupted])]);
}

async function load(options: LoadOptions, stack: AsyncDisposableStack): Promise<LoadResult> {
  const { say, natsNodes, replicas, syncAlways } = options;
  const nats = natsNodes > 1 ? stack.use(await startNatsCluster()) : undefined;
  const env = { LOG_LEVEL: "warn" };
  const cluster = stack.use(
    await startReplicatedCluster({ replicas, syncAlways, hosts: [], env, ...(nats && { nats }) }),
  );
  await importEmpty(cluster);
  say(`the control plane is there: ${replicas} of each service`);
  const natsUrl = nats?.url ?? cluster.nats.url;
  const fleet = await untilAllReady(options, natsUrl, stack);
  const readCostsNow = () => readCosts(cluster, nats?.nodes ?? [cluster.nats]);
  const idleBefore = await readCostsNow();
  await sleep(idleMs);
  const idle = costsBetween(idleBefore, await readCostsNow());
  await using lag = EventsLag.follow(cluster.api, "evt.vm.v1.created.>");
  const busyBefore = await readCostsNow();
  const made = new VmLoad({ ...options, api: cluster.api });
  const createSeconds = await made.run();
  const busy = costsBetween(busyBefore, await readCostsNow());
  await eventually(() => lag.values.length >= made.latencies.length, { deadlineMs: 60_000 });
  checkRunning(fleet.fleet, made.latencies.length);
  return { made, createSeconds, readySeconds: fleet.readySeconds, eventLags: lag.values, busy, idle };
}

async function untilAllReady(
  { hosts, startWithinMs, say }: LoadOptions,
  natsUrl: string,
  stack: AsyncDisposableStack,
): Promise<{ readonly fleet: Fleet; readonly readySeconds: number }> {
  const nats = await openNats({ url: natsUrl, name: "load" });
  stack.defer(() => nats.close());
  const ending = new AbortController();
  stack.defer(() => ending.abort());
  const { rec: log } = await openStreams(nats);
  const view = await RecordView.start({ log, filter: "rec.hosts.*", codec: Host, signal: ending.signal });
  const startedMs = performance.now();
  const fleet = stack.use(await startFleet({ natsUrl, hosts, startWithinMs }));
  say(`${hosts} agents speak`);
  const ready = () => view.list().filter(({ body }) => body.state === HostState.READY).length;
  await eventually(() => ready() === hosts, { deadlineMs: 300_000, everyMs: 50 });
  const readySeconds = (performance.now() - startedMs) / 1_000;
  say(`${hosts} hosts are ready after ${readySeconds.toFixed(1)} s`);
  return { fleet, readySeconds };
}

function checkRunning({ hosts, ledger }: Fleet, wanted: number): void {
  const uids = hosts.flatMap(({ vms }) => vms.uids());
  const running = uids.filter((uid) => ledger.runningOn(uid).length === 1);
  if (running.length !== wanted) throw new Error(`${running.length} VMs run on the hosts, and ${wanted} were made`);
  if (ledger.violations.length > 0) throw new Error(ledger.violations.join("\n"));
}
