import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { checkpointApplyCommand } from "./checkpoint-apply.ts";
import { checkpointCheckCommand } from "./checkpoint-check.ts";
import { checkpointCloneCommands } from "./checkpoint-clone.ts";
import { checkpointCreateCommand } from "./checkpoint-create.ts";
import { checkpointDeleteCommand } from "./checkpoint-delete.ts";
import { checkpointEditCommands } from "./checkpoint-edit.ts";
import { checkpointFolderCommands } from "./checkpoint-folder.ts";
import { checkpointReadCommands } from "./checkpoint-read.ts";
import { checkpointTransportCommands } from "./checkpoint-transport.ts";

/** stillpoint checkpoint ... */
export function checkpointCommand(terminal: Terminal): Command {
  const noun = nounCommand(
    "checkpoint",
    "Checkpoints of VMs and containers. WORKLOAD is vm/NAME, container/NAME, or NAME for a VM.",
  );
  const verbs = [
    checkpointCreateCommand(terminal),
    checkpointApplyCommand(terminal),
    checkpointDeleteCommand(terminal),
    ...checkpointReadCommands(terminal),
    ...checkpointEditCommands(terminal),
    ...checkpointTransportCommands(terminal),
    checkpointCheckCommand(terminal),
    ...checkpointCloneCommands(terminal),
    ...checkpointFolderCommands(terminal),
  ];
  for (const verb of verbs) noun.addCommand(verb);
  return noun;
}
