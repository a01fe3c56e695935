import { createInterface } from "node:readline";
import { findGroup, freeze, killAll } from "./control-group.ts";

/**
 * What is left when the fence guard dies: the guard's children die with it, containers do not. It hears of them on its
 * standard input, one JSON array of the engine's ids a line, the last one counts. The input ends with the guard, however
 * that ends; then it freezes them at once, whether there is a lease or not, and ends. Who begins a guard finds them so.
 */

let ids: readonly string[] = [];

function stop(id: string): void {
  const group = findGroup(id);
  if (group === undefined) return;
  try {
    freeze(group);
  } catch {
    killAll(group); // what cannot be held must not run
  }
}

process.on("SIGTERM", () => undefined);
process.on("SIGINT", () => undefined);
for await (const line of createInterface(process.stdin)) ids = JSON.parse(line) as string[];
for (const id of ids) {
  try {
    stop(id);
  } catch (error) {
    console.error(`fence guard's second: ${id}: ${String(error)}`); // and the others are stopped
  }
}
