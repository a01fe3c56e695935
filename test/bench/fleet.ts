import { closeRpcClients } from "#libs/rpc";
import { type LoadResult, runLoad } from "../sim/fleet/load.ts";
import { type BenchmarkResult, quantile } from "./benchmark.ts";

const hosts = 5_000;
const few = 50;
const vms = 6_000;

/**
 * VMs made through the whole control plane, two replicas of each service on servers that sync each write, as fast as they
 * are made, while 5,000 simulated hosts speak; the baseline is the same with 50 hosts.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  const baseline = await measure(few, vms / 3);
  const metrics = await measure(hosts, vms);
  await closeRpcClients();
  return { metrics, baseline };
}

async function measure(count: number, made: number): Promise<Record<string, number>> {
  const result = await runLoad({
    ...{ hosts: count, vms: made, rate: 0, inFlight: 64, replicas: 2, natsNodes: 1, syncAlways: true },
    ...{ startWithinMs: 0, say: (line) => console.log(`${count} hosts: ${line}`) },
  });
  const { latencies } = result.made;
  return {
    hosts_ready_s: result.readySeconds,
    vms_per_second: latencies.length / result.createSeconds,
    vm_create_p50_ms: quantile(latencies, 0.5),
    vm_create_p99_ms: quantile(latencies, 0.99),
    event_lag_p99_ms: quantile(result.eventLags, 0.99),
    ...memory(result),
  };
}

/** Of the larger replica of each service. */
function memory({ busy }: LoadResult): Record<string, number> {
  const services = ["scheduler", "vm", "operation", "checkpoint"];
  const most = (service: string) =>
    Math.max(...[...busy].filter(([name]) => name.startsWith(service)).map(([, { residentMib }]) => residentMib));
  return Object.fromEntries(services.map((service) => [`${service}_rss_mib`, most(service)]));
}
