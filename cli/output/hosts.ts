import type { Capacity, Host, Reservation } from "#contracts/scheduler/v1/scheduler";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showBytes, showCpus, showEnum, showLabels } from "./units.ts";

export function showHosts(hosts: readonly Host[], now: Date): string {
  if (hosts.length === 0) return "No hosts. A host appears when its agent runs.";
  const rows = hosts.map((host) => [
    lastPart(host.name),
    state(host),
    host.zone,
    ofCpus(host),
    ofBytes(host.used?.memoryBytes, host.capacity?.memoryBytes),
    ofBytes(host.used?.diskBytes, host.capacity?.diskBytes),
    `${host.reservationCount}`,
    showAge(host.heartbeatTime, now),
    host.problems.map(({ reason }) => reason).join(" "),
  ]);
  const headings = ["NAME", "STATE", "ZONE", "CPUS", "MEMORY", "DISK", "WORKLOADS", "SEEN", "PROBLEMS"];
  return renderTable(headings, rows);
}

export function showHost(host: Host): string {
  return renderFields([
    ["Name", lastPart(host.name)],
    ["UID", host.uid],
    ["State", state(host)],
    ["Zone", host.zone],
    ["Problems", host.problems.map(({ reason, detail }) => `${reason}: ${detail}`).join("\n")],
    ["Owner", host.owner === "" ? "" : `${host.owner} (epoch ${host.ownerEpoch})`],
    ["Agent", `${host.agentAddress} ${host.agentVersion}`.trim()],
    ["CPUs", ofCpus(host)],
    ["Memory", ofBytes(host.used?.memoryBytes, host.capacity?.memoryBytes)],
    ["Disk", ofBytes(host.used?.diskBytes, host.capacity?.diskBytes)],
    ["Overcommit", host.cpuOvercommit === 0 ? "" : `${host.cpuOvercommit} CPUs for each`],
    ["Kept back", showAmounts(host.reserved)],
    ["Has", showAmounts(host.total)],
    ["Capabilities", host.capabilities.join("\n")],
    ["Labels", showLabels(host.labels)],
    ["Workloads", host.reservations.map(showReservation).join("\n")],
  ]);
}

const showAmounts = (amounts: Capacity | undefined): string =>
  amounts === undefined
    ? ""
    : `CPUs ${showCpus(amounts)}, memory ${showBytes(amounts.memoryBytes)}, disk ${showBytes(amounts.diskBytes)}`;

const state = (host: Host): string => showEnum(host.state, "HOST_STATE_");

const ofCpus = ({ used, capacity }: Host): string => `${showCpus(used)} of ${showCpus(capacity)}`;

function showReservation({ workload, requirements }: Reservation): string {
  return `${workload} (CPUs ${showCpus(requirements)}, memory ${showBytes(requirements?.memoryBytes ?? 0)})`;
}

const ofBytes = (used = 0, capacity = 0): string => `${showBytes(used)} of ${showBytes(capacity)}`;

/** What a drain has done, by its operation's output. */
export function showDrain(host: string, output: Readonly<Record<string, unknown>>): string {
  const stopped = (output.stopped ?? []) as readonly string[];
  const moved = (output.moved ?? []) as readonly { workload: string; to: string; why?: string }[];
  const notMoved = (output.notMoved ?? []) as readonly { workload: string; why: string }[];
  const nothing = moved.length === 0 ? "; nothing ran there" : "";
  return [
    `Host ${host} is drained${stopped.length === 0 ? nothing : `; stopped: ${stopped.join(", ")}`}.`,
    ...moved.map(({ workload, to, why }) => `${workload} was moved to ${lastPart(to)}${why ? `; ${why}` : ""}.`),
    ...notMoved.map(({ workload, why }) => `${workload} was not moved and is stopped: ${why}.`),
  ].join("\n");
}
