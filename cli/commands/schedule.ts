import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { scheduleChangeCommands } from "./schedule-change.ts";
import { scheduleReadCommands } from "./schedule-read.ts";

/** stillpoint schedule ... */
export function scheduleCommand(terminal: Terminal): Command {
  const noun = nounCommand("schedule", "Checkpoints that are taken by themselves, and which of them are kept.");
  for (const verb of [...scheduleChangeCommands(terminal), ...scheduleReadCommands(terminal)]) noun.addCommand(verb);
  return noun;
}
