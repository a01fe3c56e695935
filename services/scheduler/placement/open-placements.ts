import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Log, RecordStore } from "#libs/records";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import { ledgersFilter } from "../hosts/open-host-records.ts";
import type { Membership } from "../owners/membership.ts";
import { firstHolder } from "./first-holder.ts";
import type { FreeCapacity } from "./free-capacity.ts";
import { LedgerWrites } from "./ledger-writes.ts";
import { OtherReplicas, type OtherReplicasDeps } from "./other-replicas.ts";
import { Placements, type PlacementsDeps } from "./placements.ts";

export interface PlacementParts {
  readonly log: Log;
  readonly records: HostRecords;
  readonly free: FreeCapacity;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly membership: Pick<Membership, "name" | "ownerOf" | "isJoined">;
  readonly ask: OtherReplicasDeps["ask"];
  readonly clock: Clock;
}

/** So long a caller waits for a replica that comes back under a new name. */
const readyWithinMs = 5_000;

/** Placements with all that they need of each other. */
export function openPlacements(parts: PlacementParts): Placements {
  const { log, records, free, ledgers, membership, ask, clock } = parts;
  const others = new OtherReplicas({ free, ownership: membership, ask, clock });
  const mayWrite = () => membership.name !== undefined;
  const writes = new LedgerWrites({ records, ledgers, free, mayWrite });
  const ready = async () => {
    if (membership.name !== undefined) return;
    const waiting = new AbortController();
    const late = () => waiting.abort(new Error(`it has none after ${readyWithinMs} ms`));
    clock.sleep(readyWithinMs, waiting.signal).then(late, () => undefined);
    try {
      await membership.isJoined(waiting.signal);
    } catch (cause) {
      throw new StillpointError("UNAVAILABLE", "this replica of the scheduler has no hosts at the moment", { cause });
    } finally {
      waiting.abort();
    }
  };
  const caughtUp = async () => {
    const newest = await log.read(ledgersFilter);
    await records.ledgers.waitFor(newest?.sequence ?? 0);
  };
  const first: PlacementsDeps["firstHolder"] = (hosts, wanted) => firstHolder(log, hosts, wanted);
  return new Placements({ records, free, writes, others, ready, caughtUp, firstHolder: first });
}
