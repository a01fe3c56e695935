import type {
  PreviewRetentionResponse,
  Retention,
  Schedule,
  ScheduleRun,
  ScheduleRunResult,
} from "#contracts/checkpoint/v1/schedule";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showEnum, showTime, showWorkload } from "./units.ts";

const rules = ["keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly"] as const;

export function showSchedules(schedules: readonly Schedule[]): string {
  if (schedules.length === 0) {
    return "No schedules. Make one with: stillpoint schedule create NAME --vm VM --cron '0 3 * * *'";
  }
  const rows = schedules.map((schedule) => [
    lastPart(schedule.name),
    target(schedule),
    schedule.cron,
    schedule.paused ? "paused" : runTime(schedule, schedule.nextRunTime),
    lastRun(schedule.lastRun),
    `${schedule.missedRuns}`,
    retention(schedule.retention),
  ]);
  return renderTable(["NAME", "FOR", "CRON", "NEXT RUN", "LAST RUN", "MISSED", "KEEP"], rows);
}

export function showSchedule(schedule: Schedule): string {
  return renderFields([
    ["Name", schedule.name],
    ["For", target(schedule)],
    ["Cron", schedule.cron],
    ["Time zone", zone(schedule)],
    ["Action", schedule.action === "SCHEDULE_ACTION_DRILL" ? "drill" : "checkpoint"],
    ["Type", typeOf(schedule)],
    ["Left out", schedule.excludeDisks.join(", ")],
    ["Jitter", jitter(schedule)],
    ["Push to", schedule.push],
    ["Keep", retention(schedule.retention)],
    ["Paused", schedule.paused ? "yes" : "no"],
    ["Missed runs", `${schedule.missedRuns}, ${schedule.skipMissed ? "skipped" : "made up for by one"}`],
    ["Next runs", schedule.upcoming.map((time) => runTime(schedule, time)).join("\n")],
    ["Last run", schedule.lastRun && `${showTime(schedule.lastRun.endTime)}\n${showRun(schedule.lastRun)}`.trimEnd()],
    ["Operation", schedule.operation],
  ]);
}

/** What came of a run, a line for each VM and failure. */
export function showRun({ results }: ScheduleRun): string {
  return results.length === 0 ? "There is nothing that it is for." : results.flatMap(resultLines).join("\n");
}

export function showPreview({ vms }: PreviewRetentionResponse): string {
  const rows = vms.flatMap(({ vm, decisions }) =>
    decisions.map((decision) => [
      showWorkload(vm),
      decision.displayName,
      showTime(decision.createTime),
      decision.delete ? "delete" : "keep",
      decision.keptBy.join(", "),
    ]),
  );
  if (rows.length === 0) return "It has taken no checkpoint yet.";
  return renderTable(["WORKLOAD", "CHECKPOINT", "TAKEN", "WHAT", "WHY"], rows);
}

/** In the schedule's own time zone: that is how its cron expression reads. */
export function runTime(schedule: Schedule, time: Date | undefined): string {
  if (time === undefined) return "";
  return `${time.toLocaleString("sv-SE", { timeZone: zone(schedule) })} ${zone(schedule)}`;
}

function resultLines({ vm, checkpoint, proven, deleted, failures }: ScheduleRunResult): string[] {
  const count = deleted.length;
  const gone = count === 0 ? "" : `, ${count} old ${count === 1 ? "one" : "ones"} deleted`;
  const done = [
    ...(checkpoint === "" ? [] : [`checkpoint ${lastPart(checkpoint)} taken`]),
    ...(proven === "" ? [] : [`checkpoint ${lastPart(proven)} proven`]),
  ];
  return [
    `${showWorkload(vm)}: ${done.length === 0 ? "nothing done" : done.join(", ")}${gone}`,
    ...failures.map((each) => `${showWorkload(vm)}: ${each.action} failed: ${each.reason}: ${each.message}`),
  ];
}

function lastRun(run: ScheduleRun | undefined): string {
  if (run === undefined) return "";
  const failed = run.results.filter(({ failures }) => failures.length > 0).length;
  return failed === 0 ? `${run.results.length} ok` : `${failed} of ${run.results.length} failed`;
}

/** keep-last 3, keep-daily 7 */
function retention(kept: Retention | undefined): string {
  const wanted = rules.filter((rule) => (kept?.[rule] ?? 0) > 0);
  if (wanted.length === 0) return "all";
  return wanted.map((rule) => `${kept?.[rule]} ${rule.replace("keep", "").toLowerCase()}`).join(", ");
}

function target({ vm, labelSelector }: Schedule): string {
  const labels = Object.entries(labelSelector).map(([key, value]) => `${key}=${value}`);
  return vm === "" ? labels.join(" ") : showWorkload(vm);
}

const zone = ({ timeZone }: Schedule): string => (timeZone === "" ? "UTC" : timeZone);

const typeOf = ({ checkpointType }: Schedule): string =>
  checkpointType === "CHECKPOINT_TYPE_UNSPECIFIED" ? "its own" : showEnum(checkpointType, "CHECKPOINT_TYPE_");

const jitter = ({ jitter: duration }: Schedule): string =>
  duration === undefined || duration.seconds === 0 ? "" : `up to ${duration.seconds} s`;
