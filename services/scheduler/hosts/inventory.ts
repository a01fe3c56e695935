import type { Heartbeat } from "#contracts/host/v1/agent";
import { Host, HostState } from "#contracts/scheduler/v1/scheduler";

export interface HostLimits {
  /** How many virtual cpus are given out for each that a host has. */
  readonly cpuOvercommit: number;
  /** Bytes of each host's memory that are left to the host itself. */
  readonly memoryReservedBytes: number;
}

/** The host's record by what its agent says, and what an operator has said of it before. */
export function inventoryOf(
  heartbeat: Heartbeat,
  { cordoned, draining }: Pick<Host, "cordoned" | "draining">,
  { cpuOvercommit, memoryReservedBytes }: HostLimits,
): Host {
  const { host, hostUid, agentAddress, labels, capabilities, agentVersion } = heartbeat;
  const capacity = {
    cpus: Math.floor(heartbeat.cpus * cpuOvercommit),
    cpuMillis: Math.floor(heartbeat.cpus * cpuOvercommit * 1_000),
    memoryBytes: Math.max(0, heartbeat.memoryBytes - memoryReservedBytes),
    diskBytes: heartbeat.diskBytes,
  };
  const calm = cordoned ? HostState.CORDONED : HostState.READY;
  const state = draining ? HostState.DRAINING : calm;
  const seen = { name: host, uid: hostUid, agentAddress, labels, capabilities: capabilities.toSorted(), agentVersion };
  return Host.fromPartial({ ...seen, state, cordoned, draining, capacity });
}

/** Whether there is nothing to write. */
export function sameInventory(a: Host, b: Host): boolean {
  const facts = ({ state, suspected, agentAddress, labels, capacity, capabilities, agentVersion }: Host) =>
    JSON.stringify([
      ...[state, suspected, agentAddress, agentVersion, capabilities.toSorted(), ...words(labels)],
      ...[capacity?.cpuMillis, capacity?.memoryBytes, capacity?.diskBytes],
    ]);
  return facts(a) === facts(b);
}

const words = (labels: Host["labels"]) =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted();
