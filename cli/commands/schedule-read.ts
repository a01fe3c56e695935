import type { Command } from "commander";
import type { Schedule } from "#contracts/checkpoint/v1/schedule";
import { projectName, scheduleName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showPreview, showSchedule, showSchedules } from "../output/schedules.ts";
import type { Terminal } from "../terminal.ts";
import { type RetentionOptions, retentionOf, withRetention } from "./schedule-fields.ts";

export function scheduleReadCommands(terminal: Terminal): Command[] {
  return [
    leafCommand("list", "List schedules.").action((options: CommonOptions) => withApi(terminal, options, list)),
    leafCommand("get", "Show a schedule, its next runs and what came of its last one.")
      .argument("<name>")
      .action((schedule: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => {
          const name = scheduleName(options.project, schedule);
          await printSchedule(api, await (await api.schedules()).getSchedule({ name }), showSchedule);
        }),
      ),
    withRetention(leafCommand("preview", "Show what retention would delete now, and why it would keep the others."))
      .argument("<name>")
      .addHelpText("after", "\nWith any --keep option, what that rule would do instead of the schedule's own.")
      .action((schedule: string, options: CommonOptions & RetentionOptions) =>
        withApi(terminal, options, (api) => preview(api, schedule, options)),
      ),
  ];
}

async function list(api: Api): Promise<void> {
  const response = await (await api.schedules()).listSchedules({ parent: projectName(api.options.project) });
  const { ListSchedulesResponse } = await import("#contracts/checkpoint/v1/schedule");
  await printAnswer(api.terminal, api.options.output, {
    json: ListSchedulesResponse.toJSON(response),
    table: () => showSchedules(response.schedules),
  });
}

async function preview(api: Api, schedule: string, options: CommonOptions & RetentionOptions): Promise<void> {
  const retention = retentionOf(options);
  const request = { name: scheduleName(options.project, schedule), ...(retention === undefined ? {} : { retention }) };
  const response = await (await api.schedules()).previewRetention(request);
  const { PreviewRetentionResponse } = await import("#contracts/checkpoint/v1/schedule");
  await printAnswer(api.terminal, options.output, {
    json: PreviewRetentionResponse.toJSON(response),
    table: () => showPreview(response),
  });
}

export async function printSchedule(api: Api, schedule: Schedule, show: (schedule: Schedule) => string): Promise<void> {
  const contract = await import("#contracts/checkpoint/v1/schedule");
  const json = contract.Schedule.toJSON(schedule);
  await printAnswer(api.terminal, api.options.output, { json, table: () => show(schedule) });
}
