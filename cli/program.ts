import { Command, CommanderError } from "commander";
import manifest from "../package.json" with { type: "json" };
import { CommandEnded } from "./command-ended.ts";
import { exitCodes } from "./exit-codes.ts";
import { inheritCommonOptions, withCommonOptions } from "./leaf-command.ts";
import { loadNouns } from "./nouns.ts";
import { tellError } from "./output/tell-error.ts";
import type { Terminal } from "./terminal.ts";

/** Runs one command line (without the program's name) and gives its exit code. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const root = await program(argv, terminal);
    await root.parseAsync(argv, { from: "user" });
    return exitCodes.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    if (error instanceof CommandEnded) return error.exitCode;
    return tellError(error, terminal);
  }
}

async function program(argv: readonly string[], terminal: Terminal): Promise<Command> {
  const root = withCommonOptions(new Command("stillpoint"), { isRoot: true })
    .version(manifest.version, "-V, --version", "print the version")
    .description("Virtual machines and containers with application-consistent checkpoints.")
    .helpCommand(false)
    .enablePositionalOptions()
    .hook("preAction", inheritCommonOptions);
  for (const noun of await loadNouns(argv, root, terminal)) root.addCommand(noun);
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
