import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { vmCreateCommand } from "./vm-create.ts";
import { vmExecCommand } from "./vm-exec.ts";
import { vmLifecycleCommands } from "./vm-lifecycle.ts";
import { vmReadCommands } from "./vm-read.ts";

/** stillpoint vm ... */
export function vmCommand(terminal: Terminal): Command {
  const noun = nounCommand("vm", "Virtual machines.");
  const verbs = [
    vmCreateCommand(terminal),
    ...vmReadCommands(terminal),
    ...vmLifecycleCommands(terminal),
    vmExecCommand(terminal),
  ];
  for (const verb of verbs) noun.addCommand(verb);
  return noun;
}
