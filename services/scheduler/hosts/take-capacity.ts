import type { Host } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import { amount } from "../domain/feasibility.ts";
import { type Amounts, type Dimension, dimensions, usedBy } from "../domain/host.ts";
import { capacityFor, type HostLimits, shortOf, toAmounts } from "./capacity.ts";
import type { HeldLedger } from "./held-ledger.ts";

export interface TakeDeps {
  readonly store: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly limits: HostLimits;
}

/** Of what a host has less than before. */
export function lowered(before: Pick<Host, "capacity">, after: Pick<Host, "capacity">): Dimension[] {
  const [was, is] = [toAmounts(before.capacity), toAmounts(after.capacity)];
  return dimensions.filter((dimension) => is[dimension] < was[dimension]);
}

/** What was short before, by no operator's doing, may stay so. Fails with CAPACITY_IN_USE. */
export function refuseUsed(before: Host, after: Host, used: Amounts): void {
  const short = shortOf(after.capacity, used);
  const dimension = lowered(before, after).find((one) => short.includes(one));
  if (dimension === undefined) return;
  const is = toAmounts(after.capacity)[dimension];
  throw new StillpointError(
    "CAPACITY_IN_USE",
    `${before.name} would have ${amount(dimension, is)}, and its workloads hold ${amount(dimension, used[dimension])}`,
  );
}

/**
 * Has every reservation from here on know that the host has less, by a write of its ledger: what was reserved before that
 * write is in it, and what comes later has to know the host's new record. When too much is in it, the host's record
 * is as before again. Fails with CAPACITY_IN_USE.
 */
export async function takeCapacity(deps: TakeDeps, before: Host, after: StoredRecord<Host>): Promise<void> {
  const { ledgers } = deps;
  const name = ledgerName(after.name);
  const hostVersion = after.version;
  try {
    for (let isWritten = false; !isWritten; ) {
      const changed = await ledgers.modify(name, ({ body }) => {
        refuseUsed(before, after.body, usedBy(body.reservations));
        return { body: { ...body, hostVersion: Math.max(hostVersion, body.hostVersion ?? 0) } };
      });
      const body = { name, hostVersion, reservations: [] };
      isWritten = changed !== undefined || (await unlessThere(ledgers.create(name, { uid: after.uid, body })));
    }
  } catch (error) {
    if (isStillpointError(error, "CAPACITY_IN_USE")) await giveBack(deps, before);
    throw error;
  }
}

/** What an operator has said of it is as before; what its agent has said meanwhile stays. */
async function giveBack({ store, limits }: TakeDeps, before: Host): Promise<void> {
  const { zone, labels, operatorZone, operatorLabels, cpuOvercommit, reserved } = before;
  const said = { zone, labels, operatorZone, operatorLabels, cpuOvercommit, reserved };
  await store.modify(before.name, ({ body }) => {
    const capacity = capacityFor(body.total, said, limits);
    const events = [{ aggregate: "host", happened: "updated", data: { ...said, capacity } }];
    return { body: { ...body, ...said, capacity }, events };
  });
}

/** False when somebody else has made it. */
async function unlessThere(create: Promise<unknown>): Promise<boolean> {
  try {
    await create;
    return true;
  } catch (error) {
    if (isStillpointError(error, "RECORD_CONFLICT")) return false;
    throw error;
  }
}
