import { OperationState, type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { startProduct } from "../harness/product.ts";
import { type BenchmarkResult, quantile, timed } from "./benchmark.ts";

const inFlight = 64;
const warmUp = 500;
const counted = 4000;
const alone = 300;

/** Jobs of one empty step and no target, through API, JetStream with `sync_interval: always`, Redis and runner. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using product = await startProduct();
  const operations = createRpcClient(OperationsDefinition, product.address);
  await runMany(operations, warmUp);
  const seconds = (await timed(() => runMany(operations, counted))) / 1000;
  const latencies: number[] = [];
  for (let index = 0; index < alone; index++) latencies.push(await timed(() => runOne(operations)));
  const calls = (await timed(() => callMany(operations, counted))) / 1000;
  await closeRpcClients();
  return {
    metrics: {
      operations_per_second: counted / seconds,
      uncontended_p50_ms: quantile(latencies, 0.5),
      uncontended_p99_ms: quantile(latencies, 0.99),
    },
    baseline: { reads_per_second: counted / calls },
  };
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
