import type { Capacity, Host } from "#contracts/scheduler/v1/scheduler";
import { type Amounts, type Dimension, dimensions } from "../domain/host.ts";

/** What holds for a host of which no operator has said anything. */
export interface HostLimits {
  /** How many virtual cpus are given out for each that a host has. */
  readonly cpuOvercommit: number;
  /** Bytes of each host's memory that are left to the host itself. */
  readonly memoryReservedBytes: number;
}

/**
 * What workloads may take of a host in all: what it has, less what is kept back, and for CPUs times the overcommit.
 * Never below 0.
 */
export function capacityFor(
  total: Capacity | undefined,
  said: Pick<Host, "cpuOvercommit" | "reserved">,
  limits: HostLimits,
): Capacity {
  const { cpuOvercommit, reserved } = inForce(said, limits);
  const [has, kept] = [toAmounts(total), toAmounts(reserved)];
  const left = (dimension: Dimension) => Math.max(0, has[dimension] - kept[dimension]);
  // 1.15 × 1,000 is a little less than 1,150 in binary.
  const cpuMillis = Math.floor(left("cpuMillis") * cpuOvercommit + 1e-6);
  const cpus = Math.floor(cpuMillis / 1_000);
  return { cpus, cpuMillis, memoryBytes: left("memoryBytes"), diskBytes: left("diskBytes") };
}

/** What holds for a host: what an operator has said of it, else the scheduler's default. */
export function inForce({ cpuOvercommit, reserved }: Pick<Host, "cpuOvercommit" | "reserved">, limits: HostLimits) {
  const byDefault = { cpus: 0, cpuMillis: 0, memoryBytes: limits.memoryReservedBytes, diskBytes: 0 };
  return { cpuOvercommit: cpuOvercommit || limits.cpuOvercommit, reserved: reserved ?? byDefault };
}

/** An amount as decisions see it. CPUs that are only given whole are counted in thousandths. */
export function toAmounts({
  cpus = 0,
  cpuMillis = 0,
  memoryBytes = 0,
  diskBytes = 0,
}: Partial<Capacity> = {}): Amounts {
  return { cpuMillis: cpuMillis === 0 ? cpus * 1_000 : cpuMillis, memoryBytes, diskBytes };
}

/** The dimensions in which more is taken than there is. */
export function shortOf(capacity: Capacity | undefined, used: Amounts): Dimension[] {
  const has = toAmounts(capacity);
  return dimensions.filter((dimension) => used[dimension] > has[dimension]);
}
