import type { ContainerStats } from "#contracts/container/v1/container";
import { showBytes, showCpus } from "./units.ts";

const columns: readonly (readonly [heading: string, width: number, show: (stats: ContainerStats) => string])[] = [
  ["CPUS", 6, ({ cpuMillis }) => showCpus({ cpuMillis })],
  ["MEMORY", 20, (it) => `${showBytes(it.memoryBytes)} of ${showBytes(it.memoryLimitBytes)}`],
  ["PIDS", 6, ({ pids }) => `${pids}`],
  ["RECEIVED / SENT", 20, (it) => `${showBytes(it.networkReceivedBytes)} / ${showBytes(it.networkSentBytes)}`],
  ["READ / WRITTEN", 20, (it) => `${showBytes(it.blockReadBytes)} / ${showBytes(it.blockWrittenBytes)}`],
];

/** The line over the samples, which stand in columns of a fixed width: they come one by one. */
export const statsHeadings = (): string => line(columns.map(([heading]) => heading));

/** What a container uses, on a line. */
export const showContainerStats = (stats: ContainerStats): string => line(columns.map(([, , show]) => show(stats)));

const line = (cells: readonly string[]): string =>
  `${cells
    .map((cell, i) => cell.padEnd(columns[i]?.[1] ?? 0))
    .join("  ")
    .trimEnd()}\n`;
