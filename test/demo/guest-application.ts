import type { CommandLine } from "../harness/product.ts";
import { expect } from "./report.ts";

/** The application in the test guest: `stillpoint-writer`, which appends 1, 2, 3, … to Redis and to SQLite. */
export interface Stored {
  readonly redis: { readonly count: number; readonly highest: number };
  readonly sqlite: { readonly count: number; readonly highest: number };
}

export function guestApplication(product: CommandLine, vm: string) {
  const exec = async (...command: string[]): Promise<string> => {
    const { code, stdout, stderr } = await product.stillpoint("vm", "exec", vm, "--", ...command);
    expect(code === 0, `vm exec ${vm} -- ${command.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return stdout.trim();
  };
  return {
    exec,
    /** Starts the writer; it goes on by itself. */
    startWriting: () => exec("sh", "-c", "stillpoint-writer >/run/writer.out 2>&1 </dev/null &"),
    /** The highest number that was acknowledged since boot. */
    lastAcknowledged: async () => Number(await exec("stillpoint-writer", "--last")),
    /** What both databases hold. */
    stored: async (): Promise<Stored> => {
      const lines = new Map<string, number[]>();
      for (const line of (await exec("stillpoint-writer", "--stored")).split("\n")) {
        const [name = "", ...numbers] = line.split(" ");
        lines.set(name, numbers.map(Number));
      }
      const of = (name: string) => ({ count: lines.get(name)?.[0] ?? -1, highest: lines.get(name)?.[1] ?? -1 });
      return { redis: of("redis"), sqlite: of("sqlite") };
    },
    uptimeSeconds: async () => Number((await exec("cat", "/proc/uptime")).split(" ")[0]),
  };
}
