import { OperationState, type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { type BenchmarkResult, quantile, timed } from "./benchmark.ts";
import { startCpuMeter, sumOf } from "./cpu-meter.ts";

const inFlight = 64;
const warmUp = 1_000;
const counted = 6_000;
const alone = 300;

/**
 * Jobs of one empty step and no target, through API, JetStream and runner: with `sync_interval: always`, as in
 * production, and with the server's default. Each on two replicas of each of the six services, started as they are
 * deployed, one nats-server and one Redis. There is no host, as such jobs need none, and the one client, who shares the
 * two cores with all of them, asks both replicas of the operation service itself, without the proxy.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  const always = await measure(true);
  const byDefault = await measure(false);
  return {
    metrics: {
      operations_per_second: always.perSecond,
      operations_per_second_default_sync: byDefault.perSecond,
      uncontended_p50_ms: quantile(always.latencies, 0.5),
      uncontended_p99_ms: quantile(always.latencies, 0.99),
      cpu_ms_per_operation: always.cpuMs,
      cpu_ms_per_operation_default_sync: byDefault.cpuMs,
    },
    baseline: { reads_per_second: always.readsPerSecond },
  };
}

async function measure(syncAlways: boolean) {
  await using cluster = await startReplicatedCluster({
    ...{ syncAlways, hosts: [], isDeployed: true, env: { LOG_LEVEL: "warn", OPERATION_TTL_MS: "15000" } },
  });
  const address = cluster.replicas.operation.map((replica) => replica.address).join(",");
  const operations = createRpcClient(OperationsDefinition, address);
  await runMany(operations, warmUp);
  const meter = await startCpuMeter(processesOf(cluster));
  const seconds = (await timed(() => runMany(operations, counted))) / 1000;
  const spent = await meter.read();
  const latencies: number[] = [];
  for (let index = 0; index < alone; index++) latencies.push(await timed(() => runOne(operations)));
  const reading = (await timed(() => callMany(operations, counted))) / 1000;
  await closeRpcClients();
  const shares = Object.entries(spent).map(([name, ms]) => `${name} ${(ms / counted).toFixed(2)}`);
  console.log(`sync ${syncAlways ? "always" : "by default"}: ${(counted / seconds).toFixed(0)} operations a second`);
  console.log(`milliseconds of CPU each: ${shares.join(", ")}`);
  return {
    ...{ perSecond: counted / seconds, readsPerSecond: counted / reading, latencies },
    cpuMs: sumOf(spent) / counted,
  };
}

function processesOf({ replicas, nats, redis }: ReplicatedCluster): [string, number | undefined][] {
  const services = Object.entries(replicas).flatMap(([service, all]) =>
    all.map(({ process }): [string, number] => [service, process.pid]),
  );
  return [["nats", nats.pid], ["redis", redis.pid], ...services];
}

/** Asks for a job and waits until the server says that it has succeeded and ends the watch. */
async function runOne(operations: OperationsClient): Promise<void> {
  const { name } = await operations.probe({});
  let last: OperationState | undefined;
  for await (const { state } of operations.watchOperation({ name: name ?? "" })) last = state;
  if (last !== OperationState.SUCCEEDED) throw new Error(`${name} ended as ${last}`);
}

async function runMany(operations: OperationsClient, count: number): Promise<void> {
  let left = count;
  const client = async () => {
    while (left-- > 0) await runOne(operations);
  };
  await Promise.all(Array.from({ length: inFlight }, client));
}

/** The baseline: as many bare calls that only read, by the same clients. */
async function callMany(operations: OperationsClient, count: number): Promise<void> {
  let left = count;
  const client = async () => {
    while (left-- > 0) await operations.listOperations({ unfinishedOnly: true, pageSize: 1 });
  };
  await Promise.all(Array.from({ length: inFlight }, client));
}
