import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { checkpointChangeCommands } from "./checkpoint-change.ts";
import { checkpointReadCommands } from "./checkpoint-read.ts";

/** stillpoint checkpoint ... */
export function checkpointCommand(terminal: Terminal): Command {
  const noun = nounCommand("checkpoint", "Checkpoints of VMs. WORKLOAD is vm/NAME, or NAME.");
  for (const verb of [...checkpointChangeCommands(terminal), ...checkpointReadCommands(terminal)])
    noun.addCommand(verb);
  return noun;
}
