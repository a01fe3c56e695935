import { setTimeout as sleep } from "node:timers/promises";
import { type PlaceRequest, type SchedulerClient, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { type BenchmarkResult, quantile, timed } from "./benchmark.ts";
import { beatAll, simulatedHeartbeat, untilAnswered } from "./scheduler-stage.ts";
import { openStage } from "./service-stage.ts";

const hosts = 5_000;
const clients = 32;
const batch = 64;
const warmUp = 4_096;
const all = 100_000;
const paced = 42_000;
/** A sixth more than is promised. */
const pacedPerSecond = 3_500;
const one = 4_096;
const gib = 2 ** 30;

/**
 * Placements through the API to the durable commit on a server that syncs each write: 32 clients in one process ask for
 * 64 at once each, while 5,000 hosts beat, until 100,000 workloads have a place. First as fast as they are answered; then
 * 3,500 a second are offered, whatever becomes of them: a batch's latency counts from when it was due, so that one that
 * had to wait for the one before it is not taken for a fast one, and is of worth only where the paced placements reach
 * what was offered. The baseline is the same as fast as it goes, one at a time by each client. All of it runs on one
 * machine: clients, hosts, NATS and the scheduler share its cores.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openStage("scheduler");
  stage.start();
  const heartbeats = Array.from({ length: hosts }, (_, index) => simulatedHeartbeat(index, []));
  using load = beatAll(stage.nats, heartbeats);
  await untilAnswered(load);
  await sleep(2_000);
  const scheduler = createRpcClient(SchedulerDefinition, stage.address);
  const wishes = wishList();
  const alone = (await timed(() => placeAll(scheduler, wishes, { count: one, atOnce: 1 }))) / 1_000;
  await placeAll(scheduler, wishes, { count: warmUp, atOnce: batch });
  const count = all - one - warmUp - paced;
  const seconds = (await timed(() => placeAll(scheduler, wishes, { count, atOnce: batch }))) / 1_000;
  const everyMs = (1_000 * clients * batch) / pacedPerSecond;
  const cpuBefore = await stage.cpuSeconds();
  let latencies: number[] = [];
  const pacedSeconds =
    (await timed(async () => {
      latencies = await placeAll(scheduler, wishes, { count: paced, atOnce: batch, everyMs });
    })) / 1_000;
  const cpu = (await stage.cpuSeconds()) - cpuBefore;
  await closeRpcClients();
  return {
    metrics: {
      placements_per_second: count / seconds,
      paced_placements_per_second: paced / pacedSeconds,
      paced_batch_p50_ms: quantile(latencies, 0.5),
      paced_batch_p99_ms: quantile(latencies, 0.99),
      paced_scheduler_core_percent: (100 * cpu) / pacedSeconds,
      scheduler_rss_mib: await stage.residentMib(),
    },
    baseline: { placements_per_second: one / alone },
  };
}

/** VMs of mixed sizes, 3.2 CPUs and 10 GiB on average: all of them take 80 % of what there is. */
function* wishList(): Generator<PlaceRequest> {
  const sizes = [1, 1, 2, 2, 2, 4, 4, 4, 4, 8] as const;
  for (let index = 0; ; index++) {
    const cpus = sizes[(index * 7) % sizes.length] ?? 1;
    const id = index.toString(16).padStart(12, "0");
    yield {
      workload: `projects/default/vms/web-${index}`,
      uid: `vm-0192f0c1-0000-7000-8000-${id}`,
      operation: `operations/op-0192f0c1-0000-7000-8000-${id}`,
      epoch: 0,
      requirements: {
        ...{ cpus, cpuMillis: 0, memoryBytes: cpus * (index % 3 === 0 ? 2 : 4) * gib, diskBytes: 20 * gib },
        ...{ hostPorts: [], hostSelector: {}, capabilities: ["qemu"], host: "", notHost: "", notHosts: [] },
      },
    };
  }
}

interface Work {
  readonly count: number;
  readonly atOnce: number;
  /** How often each client asks; as soon as it is answered if unsaid. */
  readonly everyMs?: number;
}

/** Gives how long each call took from when it was due. */
async function placeAll(
  scheduler: SchedulerClient,
  wishes: Generator<PlaceRequest>,
  { count, atOnce, everyMs = 0 }: Work,
): Promise<number[]> {
  const latencies: number[] = [];
  let left = count;
  const startedMs = performance.now();
  const client = async (place: number) => {
    for (let turn = place / clients; left > 0; turn++) {
      const size = Math.min(atOnce, left);
      left -= size;
      const requests = Array.from({ length: size }, () => wishes.next().value);
      const dueMs = everyMs === 0 ? performance.now() : startedMs + turn * everyMs;
      await sleep(Math.max(0, dueMs - performance.now()));
      await ask(scheduler, requests);
      latencies.push(performance.now() - dueMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, place) => client(place)));
  return latencies;
}

async function ask(scheduler: SchedulerClient, requests: PlaceRequest[]): Promise<void> {
  const [only] = requests;
  if (requests.length === 1 && only !== undefined) return void (await scheduler.place(only));
  const { results } = await scheduler.placeBatch({ requests });
  for (const { result } of results) if (result?.$case !== "placed") throw new Error(JSON.stringify(result));
}
