import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { groupCheckpointCommands } from "./group-checkpoint.ts";
import { groupDefineCommands } from "./group-define.ts";

/** stillpoint group ... */
export function groupCommand(terminal: Terminal): Command {
  const noun = nounCommand("group", "VMs and containers that are checkpointed together, at one instant.");
  for (const verb of [...groupDefineCommands(terminal), ...groupCheckpointCommands(terminal)]) noun.addCommand(verb);
  return noun;
}
