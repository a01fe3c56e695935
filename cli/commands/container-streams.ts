import type { Command } from "commander";
import { containerName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showContainerStats, statsHeadings } from "../output/container-stats.ts";
import { printItem } from "../output/format.ts";
import { parseSince } from "../parse/since.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";

interface LogsOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly since?: Date;
  readonly tail?: number;
  readonly timestamps?: boolean;
}

/** stillpoint container logs */
export function containerLogsCommand(terminal: Terminal): Command {
  return leafCommand("logs", "Print what a container printed.")
    .argument("<name>")
    .option("-f, --follow", "go on until it is deleted, or Ctrl-C")
    .option("--since <time>", "only what came since then: a time, or how long ago (10m)", parseSince())
    .option("--tail <lines>", "so many lines from the end (default: all)", wholeNumber(1, 1_000_000))
    .option("-t, --timestamps", "the time before each line")
    .action((name: string, options: LogsOptions) => withApi(terminal, options, (api) => logs(api, name, options)));
}

async function logs(api: Api, container: string, { follow, since, tail = 0, timestamps }: LogsOptions) {
  const containers = await api.containers();
  const { terminal, options } = api;
  const request = {
    name: containerName(options.project, container),
    follow: follow === true,
    tail,
    timestamps: timestamps === true,
    ...(since === undefined ? {} : { since }),
  };
  for await (const { stdout, stderr } of containers.getContainerLogs(request, { signal: terminal.signal })) {
    terminal.out(stdout);
    terminal.err(stderr);
  }
}

/** stillpoint container stats */
export function containerStatsCommand(terminal: Terminal): Command {
  return leafCommand("stats", "Show what a container uses.")
    .argument("<name>")
    .option("-f, --follow", "once a second, until Ctrl-C")
    .action((name: string, options: CommonOptions & { follow?: boolean }) =>
      withApi(terminal, options, (api) => stats(api, name, options.follow === true)),
    );
}

async function stats(api: Api, container: string, follow: boolean): Promise<void> {
  const containers = await api.containers();
  const { ContainerStats } = await import("#contracts/container/v1/container");
  const { terminal, options } = api;
  const request = { name: containerName(options.project, container), follow };
  if (options.output === "table") terminal.out(statsHeadings());
  for await (const sample of containers.getContainerStats(request, { signal: terminal.signal })) {
    await printItem(terminal, options.output, {
      json: ContainerStats.toJSON(sample),
      table: () => showContainerStats(sample),
    });
  }
}
