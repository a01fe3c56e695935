import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { CommandResult } from "./command.ts";

/** A command line, and all of its environment. */
export interface CommandQuestion {
  readonly id: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface CommandAnswer extends CommandResult {
  readonly id: number;
}

type Waiting = PromiseWithResolvers<CommandResult>;

let runner: ChildProcess | undefined;
const waiting = new Map<number, Waiting>();
let lastId = 0;

/**
 * Runs `stillpoint ARGS` in a process that this one shares among all its commands: a start of its own costs each a
 * fifth of a second of work, and tests have a thousand of them.
 */
export async function runSharedCommand(args: readonly string[], env: Record<string, string>): Promise<CommandResult> {
  const answer = Promise.withResolvers<CommandResult>();
  const id = ++lastId;
  waiting.set(id, answer);
  runner ??= startRunner();
  hold(runner);
  runner.send({ id, args, env: { ...process.env, ...env } } satisfies CommandQuestion);
  return await answer.promise;
}

function startRunner(): ChildProcess {
  const child = fork(join(import.meta.dirname, "command-process.ts"), { execArgv: [] });
  child.on("message", ({ id, ...result }: CommandAnswer) => {
    waiting.get(id)?.resolve(result);
    waiting.delete(id);
    hold(child);
  });
  child.once("exit", (code, signal) => {
    if (runner === child) runner = undefined;
    for (const { reject } of waiting.values()) reject(new Error(`the commands' process ended with ${code ?? signal}`));
    waiting.clear();
  });
  return child;
}

/** It keeps this process as long as somebody waits for a command. */
function hold(child: ChildProcess): void {
  if (waiting.size > 0) {
    child.ref();
    child.channel?.ref();
  } else {
    child.unref();
    child.channel?.unref();
  }
}
