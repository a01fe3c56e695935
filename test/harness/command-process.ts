/**
 * Runs command lines for the process that forked it, each as `bin/stillpoint` would, but for the start of a process:
 * the program is loaded once. It ends with who forked it.
 */
import { runCommandLine } from "../../cli/program.ts";
import type { Terminal } from "../../cli/terminal.ts";
import type { CommandAnswer, CommandQuestion } from "./shared-command.ts";

/** As long as the commands of tests may take; they are interrupted then. */
const COMMAND_MS = 180_000;

process.on("message", (question: CommandQuestion) => void answer(question));
process.on("disconnect", () => process.exit());

async function answer({ id, args, env }: CommandQuestion): Promise<void> {
  const printed = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const code = await runCommandLine(args, terminalInto(printed, env));
  const [stdout, stderr] = [Buffer.concat(printed.stdout).toString(), Buffer.concat(printed.stderr).toString()];
  process.send?.({ id, code, stdout, stderr } satisfies CommandAnswer);
}

/** A terminal where nobody sits, with nothing to read. */
function terminalInto(printed: { stdout: Buffer[]; stderr: Buffer[] }, env: CommandQuestion["env"]): Terminal {
  return {
    out: (text) => void printed.stdout.push(Buffer.from(text)),
    err: (text) => void printed.stderr.push(Buffer.from(text)),
    isInteractive: false,
    columns: 100,
    env,
    signal: AbortSignal.timeout(COMMAND_MS),
    ask: () => Promise.resolve(undefined),
    readInput: () => Promise.resolve(new Uint8Array()),
    async *liveInput() {},
    seize: () => undefined,
  };
}
