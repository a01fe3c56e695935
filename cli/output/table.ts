import { printable } from "./printable.ts";

/** The widest that a table gets, in columns. */
export const tableWidth = 100;
const gap = "  ";
const narrowest = 8;

/**
 * Rows under headings, in columns as wide as they need and 100 in all at most: the widest column gives way first
 * and the first one, which names the row, last. Text that does not fit ends in "…".
 */
export function renderTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [headings, ...rows.map((row) => row.map((cell) => printable(cell).replaceAll("\n", " ")))];
  const widths = fitWidths(headings.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column] ?? "")))));
  return cells.map((row) => renderRow(row, widths)).join("");
}

/** Names and values, one a line. */
export function renderFields(fields: readonly (readonly [string, string | undefined])[]): string {
  const shown = fields.filter((field): field is [string, string] => field[1] !== undefined && field[1] !== "");
  const width = Math.max(0, ...shown.map(([name]) => name.length)) + 2;
  return shown
    .map(
      ([name, value]) => `${`${name}:`.padEnd(width)}${printable(value).replaceAll("\n", `\n${" ".repeat(width)}`)}\n`,
    )
    .join("");
}

function renderRow(row: readonly string[], widths: readonly number[]): string {
  const cells = widths.map((width, column) => pad(cut(row[column] ?? "", width), width));
  return `${cells.join(gap).trimEnd()}\n`;
}

function fitWidths(wanted: readonly number[]): number[] {
  const widths = [...wanted];
  const total = () => widths.reduce((sum, width) => sum + width, 0) + gap.length * (widths.length - 1);
  while (total() > tableWidth) {
    const others = Math.max(...widths.slice(1));
    const widest = others > narrowest ? widths.indexOf(others, 1) : 0;
    const width = widths[widest] ?? 0;
    if (width <= narrowest) break;
    widths[widest] = width - 1;
  }
  return widths;
}

const widthOf = (text: string): number => Array.from(text).length;

const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - widthOf(text)));

function cut(text: string, width: number): string {
  const characters = Array.from(text);
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join("")}…`;
}
