import type { Schedule } from "#contracts/checkpoint/v1/schedule";
import { isStillpointError } from "#libs/errors";
import type { Lease, Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { RecordView } from "#libs/records";
import { decideDue } from "../domain/due.ts";
import { type AcceptRunDeps, acceptRun, isRunning, moved } from "./accept-run.ts";
import { timetableOf } from "./schedule-record.ts";

export interface DueLoopDeps extends AcceptRunDeps {
  readonly view: Pick<RecordView<Schedule>, "list">;
  readonly leases: Leases;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const everyMs = 500;
const leaseMs = 10_000;

/**
 * Starts the runs whose time has come, until the signal aborts. Any number of replicas may: a lease on each schedule
 * keeps them from doing the same work, and the compare-and-set on its record from doing it twice.
 */
export async function runDueSchedules(deps: DueLoopDeps): Promise<void> {
  const { clock, view, logger, signal } = deps;
  while (!signal.aborted) {
    const due = view.list().filter(({ body }) => body.nextRunTime !== undefined && body.nextRunTime <= clock.now());
    await Promise.all(
      due.map(async ({ name, uid }) => {
        try {
          await startWhenDue(deps, { name, uid });
        } catch (err) {
          if (!signal.aborted) logger.warn({ err, schedule: name }, "a schedule cannot be run now");
        }
      }),
    );
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
}

async function startWhenDue(deps: DueLoopDeps, { name, uid }: { readonly name: string; readonly uid: string }) {
  const lease = await leaseOn(deps.leases, uid);
  if (lease === "held by another") return;
  try {
    await startRun(deps, name);
  } catch (error) {
    // Somebody else was faster, or changed it: its record says what comes next.
    if (!isStillpointError(error, "RECORD_CONFLICT") && !isStillpointError(error, "TARGET_BUSY")) throw error;
  } finally {
    await lease?.release();
  }
}

/** Without Redis there is no lease, and the record alone decides. */
async function leaseOn(leases: Leases, uid: string): Promise<Lease | undefined | "held by another"> {
  try {
    return (await leases.acquire(`schedule:${uid}`, leaseMs)) ?? "held by another";
  } catch (error) {
    if (isStillpointError(error, "UNAVAILABLE")) return undefined;
    throw error;
  }
}

async function startRun(deps: DueLoopDeps, name: string): Promise<void> {
  const stored = await deps.schedules.get(name);
  if (stored === undefined) return;
  const { nextDueTime: dueTime, nextRunTime: runTime, skipMissed } = stored.body;
  if (dueTime === undefined || runTime === undefined) return;
  const timetable = timetableOf(stored.body);
  const due = decideDue({ dueTime, runTime }, deps.clock.now(), { timetable, skipMissed });
  // While a run goes on no other begins; what comes due meanwhile is told as missed when it has ended.
  if (due === undefined || (await isRunning(deps, stored))) return;
  if (due.run !== undefined) {
    await acceptRun(deps, stored, { due: { ...due, run: due.run } });
    return;
  }
  await deps.schedules.update(stored, moved(stored.body, due));
}
