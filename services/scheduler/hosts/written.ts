import type { Capacity, Requirements as RequirementsMessage, Reservation } from "#contracts/scheduler/v1/scheduler";
import type { Amounts, Reservation as Held, Requirements } from "../domain/host.ts";
import { toAmounts } from "./capacity.ts";

/** A reservation as it was written, with nothing left open. */
export function toHeld({ uid, workload, operation, epoch, requirements }: Reservation): Held {
  return { uid, workload, operation, epoch, requirements: toNeeds(requirements) };
}

/** What is asked of a host, in thousandths of a CPU, with nothing left open. */
export function toNeeds(requirements: Partial<RequirementsMessage> = {}): Requirements {
  return { ...nothing, ...requirements, ...toAmounts(requirements) };
}

/** An amount as the API writes it. Whole CPUs are for readers that know nothing of parts: never too few. */
export function toCapacity({ cpuMillis, memoryBytes, diskBytes }: Amounts): Capacity {
  return { cpus: Math.ceil(cpuMillis / 1_000), cpuMillis, memoryBytes, diskBytes };
}

/** A reservation as it is written. */
export function toWritten({ uid, workload, operation, epoch, requirements }: Held): Reservation {
  const { hostPorts, hostSelector, capabilities, host, notHost, notHosts } = requirements;
  const copied = { hostPorts: [...hostPorts], hostSelector: { ...hostSelector }, capabilities: [...capabilities] };
  const where = { host, notHost, notHosts: [...notHosts] };
  return { uid, workload, operation, epoch, requirements: { ...toCapacity(requirements), ...copied, ...where } };
}

const nothing = { hostPorts: [], hostSelector: {}, capabilities: [], host: "", notHost: "", notHosts: [] };
