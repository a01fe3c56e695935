import type { Capacity, Host, UpdateHostRequest } from "#contracts/scheduler/v1/scheduler";
import { ledgerName, parseHostName } from "#libs/names";
import type { RecordChange, RecordStore, StoredRecord } from "#libs/records";
import { integerProblems, labelProblems, type Problem } from "#libs/spec-checks";
import { refuseProblems } from "#libs/workloads";
import type { Amounts } from "../domain/host.ts";
import { capacityFor, type HostLimits, shortOf } from "./capacity.ts";
import type { HeldLedger } from "./held-ledger.ts";
import { heldBy } from "./host-records.ts";
import { placeWords, zoneLabel } from "./inventory.ts";
import { zoneProblems } from "./nonsense.ts";
import { problemEvents } from "./problems.ts";
import { lowered, refuseUsed, takeCapacity } from "./take-capacity.ts";

export interface UpdateHostDeps {
  readonly store: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly limits: HostLimits;
}

/**
 * Writes down what an operator says of a host.
 * @throws StillpointError ARGUMENT_INVALID, CAPACITY_IN_USE; undefined for a host that there is not
 */
export async function updateHost(
  { store, ledgers, limits }: UpdateHostDeps,
  request: UpdateHostRequest,
): Promise<StoredRecord<Host> | undefined> {
  parseHostName(request.name);
  refuseProblems(problemsIn(request));
  const used = heldBy(await ledgers.get(ledgerName(request.name)));
  let before: Host | undefined;
  const written = await store.modify(request.name, ({ body }) => {
    refuseProblems(labelsOfAgent(body, request));
    before = body;
    return changeOf(body, settled(body, request, limits), used);
  });
  if (written === undefined || before === undefined) return undefined;
  if (lowered(before, written.body).length > 0) await takeCapacity({ store, ledgers, limits }, before, written);
  return written;
}

function changeOf(before: Host, after: Host, used: Amounts): RecordChange<Host> {
  refuseUsed(before, after, used);
  const isMended = shortOf(after.capacity, used).length === 0;
  const problems = before.problems.filter(({ reason }) => !(isMended && reason === "capacity.below_used"));
  const { zone, cpuOvercommit, reserved, operatorLabels, capacity } = after;
  const data = { zone, cpuOvercommit, reserved, operatorLabels, capacity };
  const events = [{ aggregate: "host", happened: "updated", data }, ...problemEvents(before.problems, problems)];
  return { body: { ...after, problems }, events };
}

/** The host as it is after the request. */
function settled(host: Host, request: UpdateHostRequest, limits: HostLimits): Host {
  const { zone: operatorZone = host.operatorZone, cpuOvercommit = host.cpuOvercommit } = request;
  const { reserved = host.reserved, setLabels, removeLabels } = request;
  const kept = Object.entries(host.operatorLabels).filter(([key]) => !removeLabels.includes(key));
  const operatorLabels = { ...Object.fromEntries(kept), ...setLabels };
  const ownZone = host.operatorZone === "" ? host.zone : "";
  const words = placeWords(ownLabels(host), ownZone, { operatorLabels, operatorZone });
  const capacity = capacityFor(host.total, { cpuOvercommit, reserved }, limits);
  return { ...host, ...words, operatorZone, operatorLabels, cpuOvercommit, reserved, capacity };
}

/** Those that its agent says. */
function ownLabels({ labels, operatorLabels }: Host): Record<string, string> {
  const own = Object.entries(labels).filter(([key, value]) => key !== zoneLabel && operatorLabels[key] !== value);
  return Object.fromEntries(own);
}

function labelsOfAgent(host: Host, { setLabels }: UpdateHostRequest): Problem[] {
  const own = ownLabels(host);
  const [key] = Object.keys(setLabels).filter((key) => key in own);
  return key === undefined
    ? []
    : [{ field: "set_labels", message: `may not change ${key}, which the host's agent says` }];
}

function problemsIn({ zone = "", cpuOvercommit = 0, reserved, setLabels }: UpdateHostRequest): Problem[] {
  return [
    ...zoneProblems("zone", zone),
    ...labelProblems("set_labels", setLabels),
    ...(zoneLabel in setLabels ? [{ field: "set_labels", message: "may not hold zone: set the zone itself" }] : []),
    ...overcommitProblems(cpuOvercommit),
    ...(reserved === undefined ? [] : reservedProblems(reserved)),
  ];
}

function overcommitProblems(ratio: number): Problem[] {
  const isRight = ratio === 0 || (ratio >= 1 && ratio <= 64);
  return isRight ? [] : [{ field: "cpu_overcommit", message: `must be 1 to 64, or 0 for the default, not ${ratio}` }];
}

function reservedProblems({ cpus, cpuMillis, memoryBytes, diskBytes }: Capacity): Problem[] {
  const amounts = { cpus, cpu_millis: cpuMillis, memory_bytes: memoryBytes, disk_bytes: diskBytes };
  return Object.entries(amounts).flatMap(([field, value]) =>
    integerProblems(`reserved.${field}`, value, { min: 0, max: Number.MAX_SAFE_INTEGER, says: "must be 0 or more" }),
  );
}
