import type { Command } from "commander";
import { vmName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { leafCommand } from "../leaf-command.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";

interface ExecOptions extends CommonOptions {
  readonly stdin?: boolean;
  readonly timeout?: number;
}

export function vmExecCommand(terminal: Terminal): Command {
  return leafCommand("exec", "Run a program in the guest, and end with its exit code.")
    .usage("[options] <name> -- <command...>")
    .argument("<name>")
    .argument("<command...>", "program and arguments; no shell is put between")
    .option("-i, --stdin", "give it standard input, read to its end first")
    .option("--timeout <seconds>", "how long it may take (default: 60)", wholeNumber(1, 3_600))
    .action((name: string, command: string[], options: ExecOptions) =>
      withApi(terminal, options, (api) => exec(api, name, command, options)),
    );
}

async function exec(api: Api, name: string, command: string[], { stdin, timeout = 0 }: ExecOptions): Promise<void> {
  const vms = await api.vms();
  const { terminal, options } = api;
  const request = {
    name: vmName(options.project, name),
    command,
    stdin: stdin === true ? await terminal.readInput() : new Uint8Array(),
    timeoutSeconds: timeout,
  };
  let exitCode: number | undefined;
  for await (const answer of vms.execVm(request, { signal: terminal.signal })) {
    terminal.out(answer.stdout);
    terminal.err(answer.stderr);
    exitCode = answer.exitCode ?? exitCode;
  }
  if (exitCode !== exitCodes.done) throw new CommandEnded(exitCode ?? exitCodes.failed);
}
