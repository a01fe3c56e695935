import { setTimeout as sleep } from "node:timers/promises";
import { type PlaceRequest, type SchedulerClient, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { type BenchmarkResult, quantile, timed } from "./benchmark.ts";
import { beatAll, openStage, simulatedHeartbeat, untilAnswered } from "./scheduler-stage.ts";

const hosts = 5_000;
const clients = 32;
const batch = 64;
const warmUp = 4_096;
const all = 100_000;
const one = 4_096;
const gib = 2 ** 30;

/**
 * Placements through the API to the durable commit: 32 clients ask for 64 at once each, while 5,000 hosts beat, until
 * 100,000 workloads have a place. The baseline is the same, one at a time by each client.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openStage();
  stage.start();
  const heartbeats = Array.from({ length: hosts }, (_, index) => simulatedHeartbeat(index, []));
  using load = beatAll(stage.nats, heartbeats);
  await untilAnswered(load);
  await sleep(2_000);
  const scheduler = createRpcClient(SchedulerDefinition, stage.address);
  const wishes = wishList();
  const alone = (await timed(() => placeAll(scheduler, wishes, one, 1, []))) / 1_000;
  await placeAll(scheduler, wishes, warmUp, batch, []);
  const latencies: number[] = [];
  const count = all - one - warmUp;
  const cpuBefore = await stage.cpuSeconds();
  const seconds = (await timed(() => placeAll(scheduler, wishes, count, batch, latencies))) / 1_000;
  const cpu = (await stage.cpuSeconds()) - cpuBefore;
  await closeRpcClients();
  return {
    metrics: {
      placements_per_second: count / seconds,
      batch_p50_ms: quantile(latencies, 0.5),
      batch_p99_ms: quantile(latencies, 0.99),
      scheduler_core_percent: (100 * cpu) / seconds,
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
      requirements: {
        ...{ cpus, cpuMillis: 0, memoryBytes: cpus * (index % 3 === 0 ? 2 : 4) * gib, diskBytes: 20 * gib },
        ...{ hostPorts: [], hostSelector: {}, capabilities: ["qemu"], host: "", notHost: "", notHosts: [] },
      },
    };
  }
}

async function placeAll(
  scheduler: SchedulerClient,
  wishes: Generator<PlaceRequest>,
  count: number,
  atOnce: number,
  latencies: number[],
): Promise<void> {
  let left = count;
  const client = async () => {
    while (left > 0) {
      const size = Math.min(atOnce, left);
      left -= size;
      const requests = Array.from({ length: size }, () => wishes.next().value);
      latencies.push(await timed(() => place(scheduler, requests)));
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
}

async function place(scheduler: SchedulerClient, requests: PlaceRequest[]): Promise<void> {
  const [only] = requests;
  if (requests.length === 1 && only !== undefined) return void (await scheduler.place(only));
  const { results } = await scheduler.placeBatch({ requests });
  for (const { result } of results) if (result?.$case !== "placed") throw new Error(JSON.stringify(result));
}
