import type { Event } from "#contracts/event/v1/event";
import { printable } from "./printable.ts";
import { tableWidth } from "./table.ts";
import { showTime } from "./units.ts";

/** An event on a line of 100 columns at most; the whole of it is in -o json. */
export function showEvent({ time, type, resource, data = {} }: Event): string {
  const what = type.replace(/^stillpoint\./, "").padEnd(30);
  const told = [showTime(time), what, nameOf(resource, data.displayName), whyOf(type, data.reason)]
    .filter(isText)
    .join("  ");
  const line = Array.from(printable(told).replaceAll("\n", " "));
  return line.length <= tableWidth ? line.join("") : `${line.slice(0, tableWidth - 1).join("")}…`;
}

/** A checkpoint by the name that people gave it; the id in its resource name is long. */
const nameOf = (resource: string, displayName: unknown): string =>
  (isText(displayName) ? resource.replace(/\/checkpoints\/.*$/, ` "${displayName}"`) : resource).replace(
    /^projects\/[^/]+\//,
    "",
  );

/** Some reasons only say again what happened. */
const whyOf = (type: string, reason: unknown): unknown => (type.endsWith(`.${String(reason)}`) ? undefined : reason);

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
