import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { containerExecCommand } from "./container-exec.ts";
import { containerLifeCommands } from "./container-life.ts";
import { containerReadCommands } from "./container-read.ts";
import { containerCreateCommand, containerRunCommand } from "./container-run.ts";
import { containerLogsCommand, containerStatsCommand } from "./container-streams.ts";

/** stillpoint container ... */
export function containerCommand(terminal: Terminal): Command {
  const noun = nounCommand("container", "Containers.");
  const verbs = [
    containerRunCommand(terminal),
    containerCreateCommand(terminal),
    ...containerReadCommands(terminal),
    ...containerLifeCommands(terminal),
    containerLogsCommand(terminal),
    containerExecCommand(terminal),
    containerStatsCommand(terminal),
  ];
  for (const verb of verbs) noun.addCommand(verb);
  return noun;
}
