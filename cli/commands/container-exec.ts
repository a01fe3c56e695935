import { once } from "node:events";
import { PassThrough } from "node:stream";
import type { Command } from "commander";
import type { ExecStart } from "#contracts/container/v1/container";
import { containerName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { leafCommand } from "../leaf-command.ts";
import { collect } from "../parse/collect.ts";
import { parseVariable, toEnvironment, type Variable } from "../parse/variable.ts";
import type { Terminal, TerminalSize } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

interface ExecOptions extends CommonOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: readonly Variable[];
  readonly user?: string;
  readonly workdir?: string;
}

/** stillpoint container exec */
export function containerExecCommand(terminal: Terminal): Command {
  return leafCommand("exec", "Run a program in a container, and end with its exit code.")
    .usage("[options] <name> -- <command...>")
    .argument("<name>")
    .argument("<command...>", "program and arguments; no shell is put between")
    .option("-i, --interactive", "give it standard input")
    .option("-t, --tty", "give it a terminal: this one")
    .option("--env <name=value>", "an environment variable; NAME alone passes on its own", collect(parseVariable))
    .option("--user <user>", "name or uid[:gid] (default: the container's)")
    .option("--workdir <path>", "where it runs (default: the container's)")
    .action((name: string, command: string[], options: ExecOptions) =>
      withApi(terminal, options, (api) => exec(api, { name, command }, options)),
    );
}

interface Program {
  readonly name: string;
  readonly command: readonly string[];
}

async function exec(api: Api, program: Program, options: ExecOptions): Promise<void> {
  const { terminal } = api;
  const containers = await api.containers();
  const over = new AbortController();
  const requests = new PassThrough({ objectMode: true });
  using seized = seizeTerminal(terminal, requests, options.tty === true);
  requests.write({ start: startOf(terminal, program, options, seized?.size) });
  const feeding = feed(terminal, requests, { isFed: options.interactive === true, signal: over.signal });
  let exitCode: number | undefined;
  try {
    for await (const answer of containers.execContainer(requests, { signal: terminal.signal })) {
      terminal.out(answer.stdout);
      terminal.err(answer.stderr);
      exitCode = answer.exitCode ?? exitCode;
    }
  } finally {
    over.abort();
    requests.end();
    await feeding;
  }
  if (exitCode !== exitCodes.done) throw new CommandEnded(exitCode ?? exitCodes.failed);
}

function startOf(terminal: Terminal, { name, command }: Program, options: ExecOptions, size?: TerminalSize): ExecStart {
  const { project, env = [], user = "", workdir = "", tty = false } = options;
  return {
    name: containerName(project, name),
    command: [...command],
    env: toEnvironment(env, terminal.env),
    user,
    workingDir: workdir,
    terminal: tty,
    size,
  };
}

/** This terminal, raw, for the program there; what becomes of its size is told. Undefined where none is asked for. */
function seizeTerminal(terminal: Terminal, requests: PassThrough, isAsked: boolean) {
  if (!isAsked) return undefined;
  const seized = terminal.seize((resize) => void requests.write({ resize }));
  if (seized !== undefined) return seized;
  throw new UsageError("there is no terminal here to give it", {
    help: "Leave -t out when input or output is a pipe.",
  });
}

/** Passes standard input on to its end, as fast as it is taken; without input there is none to wait for. */
async function feed(
  terminal: Terminal,
  requests: PassThrough,
  { isFed, signal }: { readonly isFed: boolean; readonly signal: AbortSignal },
): Promise<void> {
  try {
    for await (const stdin of isFed ? terminal.liveInput(signal) : []) {
      if (!requests.write({ stdin })) await once(requests, "drain", { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (!signal.aborted) requests.write({ stdinClosed: true });
}
