import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leftovers } from "./leftovers.ts";

/** The temporary folder of a run of tests begins with this: its process can be looked for. */
export const runPrefix = (): string => `stillpoint-run-${process.pid}-`;

/**
 * What runs of tests that were killed have left on this machine, one line each: their folders, what works, is mounted
 * and lies there, and network links. A network of namespaces is named by its link, and gone with its last process.
 */
export function leftByDeadRuns(): string[] {
  const folders = readdirSync(tmpdir()).filter((name) => isOfDead(/^stillpoint-(?:run|test)-(\d+)-/.exec(name)));
  const links = readdirSync("/sys/class/net").filter((name) => isOfDead(/^sp(\d+)-\d+$/.exec(name)));
  return [
    ...folders.flatMap((name) => leftovers(join(tmpdir(), name))).map((line) => line.replace(/, which holds .*/s, "")),
    ...links.map((name) => `network link ${name}; remove it with: ip link delete ${name}`),
  ];
}

const isOfDead = (named: RegExpExecArray | null): boolean => named !== null && !existsSync(`/proc/${named[1]}`);
