import type { TestServer } from "#libs/testing";
import { controlPlane } from "../../harness/api.ts";
import { costOf } from "../../harness/process-cost.ts";
import type { ReplicatedCluster } from "../../harness/replicated-cluster.ts";

/** By process: percent of one core, and memory at the end. */
export type Costs = ReadonlyMap<string, { readonly cpuPercent: number; readonly residentMib: number }>;

interface Reading {
  readonly atMs: number;
  readonly costs: ReadonlyMap<string, Awaited<ReturnType<typeof costOf>>>;
}

/** Of every process of the control plane, of the servers under it, and of the fleet, which is this one. */
export async function readCosts(cluster: ReplicatedCluster, nats: readonly TestServer[]): Promise<Reading> {
  const replicas = controlPlane.flatMap((service) => cluster.replicas[service]);
  const pids: [string, number | undefined][] = [
    ...replicas.map(({ name, process }): [string, number] => [name, process.pid]),
    ...nats.map(({ pid }, index): [string, number | undefined] => [`nats-${index + 1}`, pid]),
    ["redis", cluster.redis.pid],
    ["fleet and load", process.pid],
  ];
  const read = pids.map(async ([name, pid]) => [name, await costOf(pid ?? 0)] as const);
  return { atMs: performance.now(), costs: new Map(await Promise.all(read)) };
}

export function costsBetween(before: Reading, after: Reading): Costs {
  const seconds = (after.atMs - before.atMs) / 1_000;
  return new Map(
    [...after.costs].map(([name, { cpuSeconds, residentMib }]) => {
      const taken = cpuSeconds - (before.costs.get(name)?.cpuSeconds ?? 0);
      return [name, { cpuPercent: (100 * taken) / seconds, residentMib }];
    }),
  );
}
