import { on } from "node:events";
import type { SeizedTerminal, Terminal, TerminalSize } from "./terminal.ts";

/** The terminal of this process. Ctrl-C aborts its signal; a second one ends the process as usual. */
export function processTerminal(): Terminal {
  const interrupt = new AbortController();
  process.once("SIGINT", () => interrupt.abort(new DOMException("interrupted", "AbortError")));
  // A reader that has seen enough (`| head`) is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  const isInteractive = process.stdin.isTTY && process.stderr.isTTY;
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isInteractive,
    columns: process.stderr.columns || 100,
    env: process.env,
    signal: interrupt.signal,
    ask: (question) => (isInteractive ? ask(question, interrupt.signal) : Promise.resolve(undefined)),
    readInput,
    liveInput,
    seize,
  };
}

/** Ctrl-C and Ctrl-D at the question are a no. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
  const { createInterface } = await import("node:readline/promises");
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await reader.question(question, { signal });
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "AbortError") throw error;
    process.stderr.write("\n");
    return "";
  } finally {
    reader.close();
  }
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

async function* liveInput(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { stdin } = process;
  if (signal.aborted || stdin.readableEnded) return;
  try {
    for await (const [chunk] of on(stdin, "data", { signal, close: ["end"], highWaterMark: 16, lowWaterMark: 4 })) {
      yield Buffer.from(chunk);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    // One that is read no more does not keep the process.
    stdin.pause();
  }
}

function seize(resized: (size: TerminalSize) => void): SeizedTerminal | undefined {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) return undefined;
  const size = (): TerminalSize => ({ rows: stdout.rows, columns: stdout.columns });
  const tell = () => resized(size());
  stdin.setRawMode(true);
  stdout.on("resize", tell);
  return {
    size: size(),
    [Symbol.dispose]() {
      stdout.off("resize", tell);
      stdin.setRawMode(false);
    },
  };
}
