import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { backupCommand } from "./admin-backup.ts";

/** stillpoint admin ... */
export function adminCommand(terminal: Terminal): Command {
  return nounCommand("admin", "The control plane's own state, and its disasters.").addCommand(backupCommand(terminal));
}
