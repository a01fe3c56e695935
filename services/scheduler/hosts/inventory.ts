import type { Heartbeat } from "#contracts/host/v1/agent";
import { Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { capacityFor, type HostLimits } from "./capacity.ts";
import { nonsenseIn } from "./nonsense.ts";
import { type Circumstances, problemEvents, problemsOf } from "./problems.ts";

/** The label that says a host's zone to selectors, whoever has said it. */
export const zoneLabel = "zone";

/** Around a heartbeat: what is known beside it. */
export type Around = Omit<Circumstances, "heartbeat" | "nonsense">;

/**
 * A host's record by what its agent says, and what operators have said of it before. An inventory that cannot be true is
 * passed over: what was known stays, and a host of which nothing is known has nothing.
 */
export function takeIn(heartbeat: Heartbeat, before: Host | undefined, around: Around, limits: HostLimits): Host {
  const known = before ?? Host.fromPartial({ name: heartbeat.host });
  const nonsense = nonsenseIn(heartbeat);
  const said = nonsense === undefined ? inventoryOf(heartbeat, known, limits) : known;
  const { hostUid: uid, bootId } = heartbeat;
  const host = { ...said, uid, bootId, state: livingState(known), suspected: false };
  return { ...host, problems: problemsOf(host, known.problems, { ...around, heartbeat, nonsense }) };
}

/** What happened between two states of a host's record; empty when nothing is to be written. */
export function eventsBetween(before: Host, after: Host) {
  const event = (happened: string, data: Readonly<Record<string, unknown>>) => ({ aggregate: "host", happened, data });
  const { capabilities, agentVersion } = after;
  const isBack = before.state === HostState.DOWN && after.state !== HostState.DOWN;
  const isRestarted = before.bootId !== "" && after.bootId !== "" && before.bootId !== after.bootId;
  return [
    ...(isBack ? [event("ready", { capabilities })] : []),
    ...(isRestarted ? [event("agent_restarted", { agentVersion })] : []),
    ...(!isBack && facts(before) !== facts(after) ? [event("inventory_changed", { capabilities })] : []),
    ...problemEvents(before.problems, after.problems),
  ];
}

/** Whether there is something to write. */
export function differs(before: Host, after: Host): boolean {
  const isSameAgent = before.bootId === after.bootId && before.suspected === after.suspected;
  return !isSameAgent || before.state !== after.state || eventsBetween(before, after).length > 0;
}

/** The state of a host that is heard. */
export function livingState({ cordoned, draining }: Pick<Host, "cordoned" | "draining">): HostState {
  if (draining) return HostState.DRAINING;
  return cordoned ? HostState.CORDONED : HostState.READY;
}

/** Its labels, of which its agent's own win, and its zone, by which they are said. */
export function placeWords(
  own: Readonly<Record<string, string>>,
  ownZone: string,
  { operatorLabels, operatorZone }: Pick<Host, "operatorLabels" | "operatorZone">,
): Pick<Host, "labels" | "zone"> {
  const zone = operatorZone || ownZone || own[zoneLabel] || "";
  const labels = { ...operatorLabels, ...own };
  return { zone, labels: zone === "" ? labels : { ...labels, [zoneLabel]: zone } };
}

function inventoryOf(heartbeat: Heartbeat, known: Host, limits: HostLimits): Host {
  const { agentAddress, labels, zone, capabilities, agentVersion, cpus, memoryBytes, diskBytes } = heartbeat;
  const total = { cpus, cpuMillis: cpus * 1_000, memoryBytes, diskBytes };
  return {
    ...known,
    ...placeWords(labels, zone, known),
    ...{ agentAddress, agentVersion, capabilities: capabilities.toSorted(), total },
    capacity: capacityFor(total, known, limits),
  };
}

/** What its agent says, so that two can be compared. */
function facts({ agentAddress, agentVersion, capabilities, labels, zone, total, capacity }: Host): string {
  const words = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return JSON.stringify([
    ...[agentAddress, agentVersion, zone, capabilities.toSorted(), words.toSorted()],
    ...[total, capacity].map((amounts) => [amounts?.cpuMillis, amounts?.memoryBytes, amounts?.diskBytes]),
  ]);
}
