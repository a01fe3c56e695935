import type { Logger } from "#libs/logger";
import type { Json, RecordView, StoredRecord } from "#libs/records";
import type { Reservation } from "./domain/host.ts";
import { candidates, type HostRecords } from "./hosts/host-records.ts";
import type { Placements } from "./placements.ts";

export interface ReconcilerDeps {
  readonly records: HostRecords;
  readonly placements: Placements;
  /** True while the operation may still go on; `operation` is operations/<id>. */
  readonly isUnfinished: (operation: string) => Promise<boolean>;
  /** Workloads in memory, for a first look. */
  readonly workloads: Pick<RecordView<Json>, "get">;
  /** A workload as it stands now, from the leader. */
  readonly readWorkload: (name: string) => Promise<StoredRecord<Json> | undefined>;
  readonly logger: Logger;
}

/**
 * Gives back capacity that nobody needs: neither does the operation that took it go on, nor is there a workload of
 * that uid on that host. Gives how many reservations it gave back.
 */
export async function reconcile(deps: ReconcilerDeps): Promise<number> {
  let reclaimed = 0;
  for (const { name: host, reservations } of candidates(deps.records)) {
    for (const reservation of reservations) {
      if (await isNeeded(deps, reservation, host)) continue;
      await deps.placements.reclaim(reservation, host);
      deps.logger.warn(
        { host, uid: reservation.uid, workload: reservation.workload },
        "a lost reservation was given back",
      );
      reclaimed += 1;
    }
  }
  return reclaimed;
}

async function isNeeded(deps: ReconcilerDeps, reservation: Reservation, host: string): Promise<boolean> {
  const { workload } = reservation;
  if (livesOn(deps.workloads.get(workload), reservation.uid, host)) return true;
  // First the operation, then the record: an operation writes the record before it ends.
  if (await deps.isUnfinished(reservation.operation)) return true;
  return livesOn(await deps.readWorkload(workload), reservation.uid, host);
}

function livesOn(record: StoredRecord<Json> | undefined, uid: string, host: string): boolean {
  return record !== undefined && record.uid === uid && record.body.host === host;
}
