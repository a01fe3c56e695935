import type { Command } from "commander";
import { nounCommand, ofInstallation } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { backupCommand } from "./admin-backup.ts";
import { discardCommand, rebuildCommands } from "./admin-rebuild.ts";

/** stillpoint admin ... */
export function adminCommand(terminal: Terminal): Command {
  const admin = nounCommand("admin", "The control plane's own state, and its disasters.");
  for (const command of [backupCommand(terminal), ...rebuildCommands(terminal), discardCommand(terminal)])
    admin.addCommand(command);
  return ofInstallation(admin);
}
