import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { checkpointChangeCommands } from "./checkpoint-change.ts";
import { checkpointEditCommands } from "./checkpoint-edit.ts";
import { checkpointReadCommands } from "./checkpoint-read.ts";
import { checkpointTransportCommands } from "./checkpoint-transport.ts";

/** stillpoint checkpoint ... */
export function checkpointCommand(terminal: Terminal): Command {
  const noun = nounCommand("checkpoint", "Checkpoints of VMs. WORKLOAD is vm/NAME, or NAME.");
  const verbs = [
    ...checkpointChangeCommands(terminal),
    ...checkpointReadCommands(terminal),
    ...checkpointEditCommands(terminal),
    ...checkpointTransportCommands(terminal),
  ];
  for (const verb of verbs) noun.addCommand(verb);
  return noun;
}
