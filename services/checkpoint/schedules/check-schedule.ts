import { type Schedule, ScheduleAction } from "#contracts/checkpoint/v1/schedule";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { parseScheduleName, parseWorkloadName, quote } from "#libs/names";
import { parseReference } from "#libs/oci";
import type { RetentionRules } from "../domain/retention.ts";
import { askedType } from "../records/contract-words.ts";
import { checkCron } from "./check-cron.ts";
import { jitterMsOf, rulesOf, timetableOf, timeZoneOf } from "./schedule-record.ts";
import { upcoming } from "./timetable.ts";

const longestJitterMs = 24 * 60 * 60 * 1000;
const mostKept = 1000;
/** How many runs ahead the time between two of them is looked at. */
const comparedRuns = 100;

/** Fails with ARGUMENT_INVALID or NAME_INVALID when it could not run as it is written. */
export function checkSchedule(schedule: Schedule, now: Date): void {
  checkTimeZone(schedule.timeZone);
  checkCron(schedule.cron);
  checkJitter(schedule, now);
  checkSelection(schedule);
  if (schedule.checkpointType !== CheckpointType.UNSPECIFIED) askedType(schedule.checkpointType);
  checkRetention(rulesOf(schedule.retention));
  checkPush(schedule);
}

function checkTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timeZoneOf(timeZone) });
  } catch (cause) {
    throw invalid("time_zone", `${quote(timeZone)} is no time zone`, "Use an IANA name, such as Europe/Berlin.", cause);
  }
}

function checkJitter(schedule: Schedule, now: Date): void {
  const jitterMs = jitterMsOf(schedule.jitter);
  if (jitterMs < 0 || jitterMs > longestJitterMs) {
    throw invalid("jitter", "jitter is not between 0 and 24 hours", "Use a duration such as 10m.");
  }
  const dueTimes = upcoming(timetableOf(schedule), now, comparedRuns).map(({ dueTime }) => dueTime.getTime());
  const gaps = dueTimes.slice(1).map((time, index) => time - (dueTimes[index] ?? 0));
  const shortest = Math.min(...gaps);
  if (jitterMs >= shortest) {
    const help = `Use less than ${shortest / 1000} s, or a cron expression with fewer runs.`;
    throw invalid("jitter", "jitter is not shorter than the time between two runs", help);
  }
}

function checkSelection({ name, vm, labelSelector }: Schedule): void {
  const byLabel = Object.keys(labelSelector).length > 0;
  if ((vm !== "") === byLabel) {
    throw invalid(
      "vm",
      "a schedule is for one workload or for those with some labels",
      "Set either vm or label_selector.",
    );
  }
  if (vm === "") return;
  if (parseWorkloadName(vm).project === parseScheduleName(name).project) return;
  throw invalid(
    "vm",
    `${vm} is in another project than ${name}`,
    "Make the schedule in the project of what it is for.",
  );
}

function checkPush({ push, action }: Schedule): void {
  if (push === "") return;
  if (action === ScheduleAction.DRILL) {
    throw invalid("push", "a drill takes no checkpoint that could be pushed", "Make a schedule of its own for drills.");
  }
  parseReference(push);
}

/** Fails with ARGUMENT_INVALID. */
export function checkRetention(rules: RetentionRules): void {
  const counts = [rules.keepLast, rules.keepHourly, rules.keepDaily, rules.keepWeekly, rules.keepMonthly];
  if ([...counts, rules.keepYearly].every((count) => count >= 0 && count <= mostKept)) return;
  throw invalid("retention", `a retention rule is not between 0 and ${mostKept}`, "Use 0 for no such rule.");
}

function invalid(field: string, message: string, help: string, cause?: unknown): StillpointError {
  const metadata = { field: `schedule.${field}` };
  return new StillpointError("ARGUMENT_INVALID", message, {
    help,
    metadata,
    ...(cause === undefined ? {} : { cause }),
  });
}
