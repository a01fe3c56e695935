import { Command, CommanderError } from "commander";
import manifest from "../package.json" with { type: "json" };
import { CommandEnded } from "./command-ended.ts";
import { adminCommand } from "./commands/admin.ts";
import { certCommand } from "./commands/cert.ts";
import { checkpointCommand } from "./commands/checkpoint.ts";
import { containerCommand } from "./commands/container.ts";
import { devCommand } from "./commands/dev.ts";
import { eventsCommand } from "./commands/events.ts";
import { groupCommand } from "./commands/group.ts";
import { hostCommand } from "./commands/host.ts";
import { imageCommand } from "./commands/image.ts";
import { operationCommand } from "./commands/operation.ts";
import { projectCommand } from "./commands/project.ts";
import { registryCommand } from "./commands/registry.ts";
import { scheduleCommand } from "./commands/schedule.ts";
import { vmCommand } from "./commands/vm.ts";
import { exitCodes } from "./exit-codes.ts";
import { inheritCommonOptions, withCommonOptions } from "./leaf-command.ts";
import { tellError } from "./output/tell-error.ts";
import type { Terminal } from "./terminal.ts";

/** Runs one command line (without the program's name) and gives its exit code. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await program(terminal).parseAsync(argv, { from: "user" });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    if (error instanceof CommandEnded) return error.exitCode;
    return tellError(error, terminal);
  }
}

function program(terminal: Terminal): Command {
  const root = withCommonOptions(new Command("stillpoint"), { isRoot: true })
    .version(manifest.version, "-V, --version", "print the version")
    .description("Virtual machines and containers with application-consistent checkpoints.")
    .helpCommand(false)
    .enablePositionalOptions()
    .hook("preAction", inheritCommonOptions);
  for (const command of [
    devCommand(terminal),
    vmCommand(terminal),
    containerCommand(terminal),
    checkpointCommand(terminal),
    scheduleCommand(terminal),
    groupCommand(terminal),
    imageCommand(terminal),
    registryCommand(terminal),
    hostCommand(terminal),
    projectCommand(terminal),
    operationCommand(terminal),
    eventsCommand(terminal),
    adminCommand(terminal),
    certCommand(terminal),
  ]) {
    root.addCommand(command);
  }
  withEvery(root, (command) => {
    command.exitOverride().configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "Error ARGUMENT_INVALID: ")),
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    });
    command.showHelpAfterError(`Run "${pathOf(command)} --help" for what it takes.`);
  });
  return root;
}

function withEvery(command: Command, apply: (command: Command) => void): void {
  apply(command);
  for (const child of command.commands) withEvery(child, apply);
}

function pathOf(command: Command): string {
  const { parent } = command;
  return parent === null ? command.name() : `${pathOf(parent)} ${command.name()}`;
}
