import type { Event } from "#contracts/event/v1/event";
import { printable } from "./printable.ts";
import { tableWidth } from "./table.ts";
import { showTime } from "./units.ts";

/** An event on a line of 100 columns at most; the whole of it is in -o json. */
export function showEvent({ time, type, resource }: Event): string {
  const what = printable(type.replace(/^stillpoint\./, "")).padEnd(24);
  const line = Array.from(`${showTime(time)}  ${what}  ${printable(resource.replace(/^projects\/[^/]+\//, ""))}`);
  return line.length <= tableWidth ? line.join("") : `${line.slice(0, tableWidth - 1).join("")}…`;
}
