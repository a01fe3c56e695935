import type { ContainerStats } from "#contracts/container/v1/container";

/** What of Docker's samples we use; the client's types leave out what differs between cgroup 1 and 2. */
export interface DockerStats {
  readonly read: string;
  readonly preread: string;
  readonly cpu_stats: { readonly cpu_usage: { readonly total_usage: number } };
  readonly precpu_stats: {
    readonly cpu_usage?: { readonly total_usage: number };
    readonly system_cpu_usage?: number;
  };
  readonly memory_stats: {
    readonly usage?: number;
    readonly limit?: number;
    /** Page cache that can be dropped: cgroup 1 has the first, 2 the second. */
    readonly stats?: { readonly total_inactive_file?: number; readonly inactive_file?: number };
  };
  readonly pids_stats?: { readonly current?: number };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
  readonly blkio_stats?: { readonly io_service_bytes_recursive?: readonly BlockBytes[] | null };
}

interface BlockBytes {
  readonly op: string;
  readonly value: number;
}

/** One of Docker's samples in our words. Without a sample before it `cpuMillis` is 0. */
export function statsOf(sample: DockerStats): ContainerStats {
  const { cpu_stats: cpu, memory_stats: memory } = sample;
  const { total_inactive_file, inactive_file = 0 } = memory.stats ?? {};
  const blocks = sample.blkio_stats?.io_service_bytes_recursive ?? [];
  const networks = Object.values(sample.networks ?? {});
  return {
    time: new Date(sample.read),
    cpuNanoseconds: cpu.cpu_usage.total_usage,
    cpuMillis: cpuMillis(sample),
    memoryBytes: Math.max(0, (memory.usage ?? 0) - (total_inactive_file ?? inactive_file)),
    memoryLimitBytes: memory.limit ?? 0,
    pids: sample.pids_stats?.current ?? 0,
    networkReceivedBytes: networks.reduce((bytes, { rx_bytes }) => bytes + rx_bytes, 0),
    networkSentBytes: networks.reduce((bytes, { tx_bytes }) => bytes + tx_bytes, 0),
    blockReadBytes: blockBytes(blocks, "read"),
    blockWrittenBytes: blockBytes(blocks, "write"),
  };
}

function cpuMillis({ cpu_stats: now, precpu_stats: before, read, preread }: DockerStats): number {
  const elapsedMs = Date.parse(read) - Date.parse(preread);
  const used = now.cpu_usage.total_usage - (before.cpu_usage?.total_usage ?? 0);
  return before.system_cpu_usage === undefined || elapsedMs <= 0 ? 0 : Math.max(0, Math.round(used / 1e3 / elapsedMs));
}

function blockBytes(blocks: readonly BlockBytes[], op: string): number {
  return blocks.reduce((bytes, entry) => bytes + (entry.op.toLowerCase() === op ? entry.value : 0), 0);
}
