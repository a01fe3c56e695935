import type { Terminal } from "../terminal.ts";
import { printable } from "./printable.ts";
import { showBytes } from "./units.ts";

/** How far something is. */
interface ProgressState {
  readonly what: string;
  /** The step it is at, and a word on it. */
  readonly step?: string;
  readonly message?: string;
  /** 0 to 100. */
  readonly percent?: number;
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
}

/** Shows progress on stderr: one line that is redrawn for a person, a line for each new step otherwise. */
export interface ProgressView {
  update(state: ProgressState): void;
  /** Takes the redrawn line away. */
  end(): void;
}

export function createProgressView(
  terminal: Terminal,
  now: () => number = performance.now.bind(performance),
): ProgressView {
  return terminal.isInteractive ? redrawn(terminal, now) : lines(terminal);
}

function redrawn(terminal: Terminal, now: () => number): ProgressView {
  const began = now();
  return {
    update(state) {
      const seconds = ((now() - began) / 1000).toFixed(1);
      const text = `${describe(state)}${amounts(state)}  ${seconds} s`;
      terminal.err(
        `\r\u001b[2K${Array.from(text)
          .slice(0, terminal.columns - 1)
          .join("")}`,
      );
    },
    end: () => terminal.err("\r\u001b[2K"),
  };
}

function lines(terminal: Terminal): ProgressView {
  let last = "";
  return {
    update(state) {
      const text = describe(state);
      if (text !== last) terminal.err(`${text}\n`);
      last = text;
    },
    end: () => undefined,
  };
}

function describe({ what, step, message }: ProgressState): string {
  const told = [step, message].filter((part) => part !== undefined && part !== "").join(": ");
  return printable(told === "" ? what : `${what}  ${told}`).replaceAll("\n", " ");
}

function amounts({ percent = 0, bytesDone = 0, bytesTotal = 0 }: ProgressState): string {
  const bytes = bytesTotal > 0 ? `  ${showBytes(bytesDone)} of ${showBytes(bytesTotal)}` : "";
  return percent > 0 ? `  ${percent} %${bytes}` : bytes;
}
