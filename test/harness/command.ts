import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const repository = join(import.meta.dirname, "../..");

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly timeoutMs?: number;
  /** Interrupts it, as Ctrl-C does. */
  readonly signal?: AbortSignal;
}

/** Runs a program to its end and gives what it printed. Never throws for an exit code. */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      timeout: options.timeoutMs ?? 180_000,
    });
    const interrupt = () => child.kill("SIGINT");
    options.signal?.addEventListener("abort", interrupt, { once: true });
    const output = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      options.signal?.removeEventListener("abort", interrupt);
      resolve({ ...output, code: code ?? (signal === null ? 1 : 128) });
    });
  });
}

/**
 * Runs a program until it prints a line that fits, gives that line, and interrupts it. Fails when it ends before, and
 * after `timeoutMs`, 60 s if unsaid.
 */
export async function firstLine(
  program: string,
  args: readonly string[],
  fits: (line: string) => boolean,
  { env, timeoutMs = 60_000, signal }: CommandOptions = {},
): Promise<string> {
  const ending = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  const closed = once(child, "close");
  const interrupt = () => child.kill("SIGINT");
  ending.addEventListener("abort", interrupt, { once: true });
  try {
    for await (const line of createInterface({ input: child.stdout })) if (fits(line)) return line;
    ending.throwIfAborted();
    throw new Error(`${args.join(" ")} ended before what was waited for`);
  } finally {
    ending.removeEventListener("abort", interrupt);
    interrupt();
    await closed;
  }
}
