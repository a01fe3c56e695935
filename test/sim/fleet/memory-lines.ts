import type { Lines } from "../../../services/agent/durable-file.ts";

/** Lines in memory, in place of a file. An agent that is dead writes none. */
export class MemoryLines {
  #lines: string[] = [];

  /** As one agent sees them, until its signal. */
  openedBy(signal: AbortSignal): Lines {
    return {
      read: async () => {
        signal.throwIfAborted();
        return [...this.#lines];
      },
      append: async (line) => {
        signal.throwIfAborted();
        this.#lines.push(line);
      },
      replace: async (line) => {
        signal.throwIfAborted();
        this.#lines = [line];
      },
    };
  }
}
