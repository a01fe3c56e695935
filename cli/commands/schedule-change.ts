import type { Command } from "commander";
import type { Schedule } from "#contracts/checkpoint/v1/schedule";
import { projectName, scheduleName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { runTime, showRun } from "../output/schedules.ts";
import { lastPart } from "../output/units.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { type FieldOptions, fieldsOf, withFields } from "./schedule-fields.ts";
import { printSchedule } from "./schedule-read.ts";

export function scheduleChangeCommands(terminal: Terminal): Command[] {
  const onSchedule = (command: Command, act: (api: Api, name: string, options: FieldOptions) => Promise<void>) =>
    command
      .argument("<name>")
      .action((name: string, options: FieldOptions) => withApi(terminal, options, (api) => act(api, name, options)));
  return [
    onSchedule(
      withFields(leafCommand("create", "Take checkpoints by themselves.")).addHelpText("after", example),
      create,
    ),
    onSchedule(withFields(leafCommand("set", "Change what is given, and leave the rest as it is.")), set),
    onSchedule(leafCommand("pause", "Run it no more until it is resumed."), (api, name) => pause(api, name, true)),
    onSchedule(leafCommand("resume", "Run it again from its next time on."), (api, name) => pause(api, name, false)),
    onSchedule(leafCommand("delete", "Delete a schedule; the checkpoints that it took stay."), remove),
    operationLeaf("run", "Run it now: take the checkpoints, then delete those that are not to be kept.")
      .argument("<name>")
      .action((name: string, options: CommonOptions & WaitOptions) => run(terminal, name, options)),
  ];
}

const example = `
Example, at 3:00 each night, with a week of nights and a year of months kept:
  stillpoint schedule create nightly --vm web-1 --cron '0 3 * * *' --time-zone Europe/Berlin \\
    --keep-daily 7 --keep-monthly 12`;

async function create(api: Api, scheduleId: string, options: FieldOptions): Promise<void> {
  if (options.cron === undefined) {
    throw new UsageError("a schedule needs --cron", { help: "Such as --cron '0 3 * * *' for 3:00 daily." });
  }
  const parent = projectName(options.project);
  const schedule = await (await api.schedules()).createSchedule({ parent, scheduleId, schedule: fieldsOf(options) });
  await printSchedule(api, schedule, (made) => `Schedule ${scheduleId} is made.\n${nextRuns(made)}`);
}

async function set(api: Api, scheduleId: string, options: FieldOptions): Promise<void> {
  const name = scheduleName(options.project, scheduleId);
  const before = await (await api.schedules()).getSchedule({ name });
  const fields = fieldsOf(options, before);
  if (Object.keys(fields).length === 0) {
    throw new UsageError("nothing is to be changed", { help: "Name what to change, such as --cron or --keep-daily." });
  }
  await update(api, { name, ...fields });
}

const pause = (api: Api, name: string, paused: boolean): Promise<void> =>
  update(api, { name: scheduleName(api.options.project, name), paused });

async function update(api: Api, schedule: Partial<Schedule> & { readonly name: string }): Promise<void> {
  const { name, ...fields } = schedule;
  const updateMask = Object.keys(fields).map((field) =>
    field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  );
  const changed = await (await api.schedules()).updateSchedule({ schedule, updateMask });
  const what = fields.paused === true ? "is paused" : "is changed";
  await printSchedule(api, changed, (after) => `Schedule ${lastPart(name)} ${what}.\n${nextRuns(after)}`);
}

function nextRuns(schedule: Schedule): string {
  if (schedule.upcoming.length === 0) return "";
  return `It runs next at:\n${schedule.upcoming.map((time) => `  ${runTime(schedule, time)}\n`).join("")}`;
}

async function remove(api: Api, schedule: string): Promise<void> {
  await (await api.schedules()).deleteSchedule({ name: scheduleName(api.options.project, schedule) });
  await printAnswer(api.terminal, api.options.output, { json: {}, table: () => `Schedule ${schedule} is deleted.` });
}

/** The operation succeeds also when it failed on some workload: the exit code says so. */
async function run(terminal: Terminal, schedule: string, options: CommonOptions & WaitOptions): Promise<void> {
  let hasFailed = false;
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.schedules()).runSchedule({ name: scheduleName(options.project, schedule), requestId }),
    told: async ({ output }) => {
      const { ScheduleRun } = await import("#contracts/checkpoint/v1/schedule");
      const ended = ScheduleRun.fromJSON(output);
      hasFailed = ended.results.some(({ failures }) => failures.length > 0);
      return showRun(ended);
    },
  });
  if (hasFailed) throw new CommandEnded(exitCodes.failed);
}
