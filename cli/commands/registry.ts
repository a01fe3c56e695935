import type { Command } from "commander";
import { nounCommand } from "../leaf-command.ts";
import type { Terminal } from "../terminal.ts";
import { registryAccountCommand } from "./registry-account.ts";
import { registryGcCommand, registryUsageCommand, registryWhyCommand } from "./registry-collection.ts";
import { registryRotateKeyCommand } from "./registry-key.ts";
import { registryQuotaCommand } from "./registry-quota.ts";

/** stillpoint registry ... */
export function registryCommand(terminal: Terminal): Command {
  return nounCommand("registry", "The registry itself: who may use it, and how much; what it holds, and deletes.")
    .addCommand(registryAccountCommand(terminal))
    .addCommand(registryQuotaCommand(terminal))
    .addCommand(registryRotateKeyCommand(terminal))
    .addCommand(registryGcCommand(terminal))
    .addCommand(registryWhyCommand(terminal))
    .addCommand(registryUsageCommand(terminal));
}
