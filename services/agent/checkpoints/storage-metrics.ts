import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import { type GaugeReading, observeGauge } from "#libs/telemetry";
import type { AgentParts } from "../actions/agent-parts.ts";

/** Tells of every workload what waits to be merged, and of the host how long its disk lasts. Gives a function that ends it. */
export function observeStorage({ storage, workloads }: Pick<AgentParts, "storage" | "workloads">): () => void {
  const ofEach = (read: (known: CheckpointStorage) => number): GaugeReading[] =>
    workloads.list().flatMap((workload) => {
      const known = storage.lastOf(workload);
      return known === undefined ? [] : [{ value: read(known), attributes: { vm: workload.definition.name } }];
    });
  const secondsUntilFull = () => {
    const value = storage.secondsUntilFull;
    return value === undefined ? [] : [{ value }];
  };
  const forget = [
    observeGauge({
      name: "stillpoint.checkpoint.merge_debt",
      unit: "By",
      description: "Layers that no checkpoint needs any more and that wait to be merged.",
      attributes: ["vm"],
      read: () => ofEach(({ mergeDebtBytes }) => mergeDebtBytes),
    }),
    observeGauge({
      name: "stillpoint.checkpoint.hidden_layers",
      unit: "1",
      description: "Layers without a checkpoint that stay because two or more lines need them.",
      attributes: ["vm"],
      read: () => ofEach(({ hiddenLayers }) => hiddenLayers),
    }),
    observeGauge({
      name: "stillpoint.host.disk_free",
      unit: "By",
      description: "Free space where the agent keeps disks.",
      read: () => [{ value: storage.freeBytes }],
    }),
    observeGauge({
      name: "stillpoint.host.disk_full_in",
      unit: "s",
      description: "Until that space is full at the growth of the last hour; absent when nothing grows.",
      read: secondsUntilFull,
    }),
  ];
  return () => {
    for (const end of forget) end();
  };
}
