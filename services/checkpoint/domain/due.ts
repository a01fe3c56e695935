/**
 * When a schedule runs. Pure: cron, time zone and jitter are behind `Timetable`.
 *
 * One time is due after the other. A run that begins within the grace of its run time is on time. What was overdue
 * for longer was missed: the runs before the newest one in any case, the newest one when its grace is over too. Missed
 * runs are told once with their number, and one run makes up for all of them, unless `skipMissed` asks to wait for the
 * next; a newest one that is on time runs as such and makes up for those before it.
 */
export interface Due {
  /** The time that the cron expression names. */
  readonly dueTime: Date;
  /** That and its jitter. */
  readonly runTime: Date;
}

export interface Timetable {
  /** The first whose due time is after that. */
  next(after: Date): Due;
  /** The last whose run time is not after that. */
  newest(upTo: Date): Due | undefined;
}

export interface Missed {
  /** At most `countedMissed`. */
  readonly count: number;
  readonly first: Date;
  readonly last: Date;
}

export interface DueDecision {
  /** The due time to run for; undefined when nothing runs. */
  readonly run: Date | undefined;
  readonly missed: Missed | undefined;
  readonly next: Due;
}

/** More missed runs than this are not counted one by one: a schedule of every minute misses as many in three days. */
export const countedMissed = 5_000;
/** How late a run may begin and be on time. */
export const graceMs = 30_000;

/** What to do now about the run that was to come next; undefined while its time has not come. */
export function decideDue(
  due: Due,
  now: Date,
  { timetable, skipMissed }: { readonly timetable: Timetable; readonly skipMissed: boolean },
): DueDecision | undefined {
  if (due.runTime > now) return undefined;
  const found = timetable.newest(now);
  const newest = found !== undefined && found.dueTime > due.dueTime ? found : due;
  const isLate = now.getTime() - newest.runTime.getTime() > graceMs;
  const missed = missedRuns(due, newest, { timetable, isLate });
  return { run: isLate && skipMissed ? undefined : newest.dueTime, missed, next: timetable.next(newest.dueTime) };
}

function missedRuns(
  due: Due,
  newest: Due,
  { timetable, isLate }: { readonly timetable: Timetable; readonly isLate: boolean },
): Missed | undefined {
  let count = 0;
  let last = due.dueTime;
  for (let each = due; each.dueTime < newest.dueTime && count < countedMissed; each = timetable.next(each.dueTime)) {
    count += 1;
    last = each.dueTime;
  }
  if (isLate) {
    count = Math.min(count + 1, countedMissed);
    last = newest.dueTime;
  }
  return count === 0 ? undefined : { count, first: due.dueTime, last };
}
