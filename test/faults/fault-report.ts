import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { repository } from "../harness/command.ts";

/** What one test under faults came to. */
export interface FaultEntry {
  /** "F7", or several: "F4 F9". */
  readonly row: string;
  readonly file: string;
  readonly test: string;
  readonly seed: number;
  /** How many of each kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** How many operations were accepted meanwhile. */
  readonly accepted: number;
  /** What was not as it must be; empty when it passed. */
  readonly violations: readonly string[];
  /** The longest time from a fault until what it hit worked again, where that was looked at. */
  readonly longestRecoverySeconds?: number;
  readonly wallSeconds: number;
}

/** Where a run that begins now reports: below fault-logs/. */
export const newReport = (): string =>
  join(repository, "fault-logs", `report-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.jsonl`);

/** Adds an entry to the run's report at once, so that it stays when the run is stopped. */
export function report(entry: FaultEntry, path = process.env.STILLPOINT_FAULT_REPORT): void {
  if (path === undefined) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  appendFileSync(path, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
}

/** What was reported so far; a last line that its writer did not finish is left out. */
export function readReport(path: string): FaultEntry[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as FaultEntry);
}

export interface RowSummary {
  readonly row: string;
  readonly tests: number;
  readonly faults: number;
  readonly kinds: Readonly<Record<string, number>>;
  readonly accepted: number;
  readonly violations: number;
  readonly longestRecoverySeconds: number | undefined;
  readonly wallSeconds: number;
}

/** One for each row, in order. */
export function summarize(entries: readonly FaultEntry[]): RowSummary[] {
  const rows = Map.groupBy(entries, ({ row }) => row);
  return [...rows]
    .toSorted(([a], [b]) => orderOf(a) - orderOf(b) || a.localeCompare(b))
    .map(([row, all]) => sumOf(row, all));
}

const orderOf = (row: string): number => Number(/\d+/.exec(row)?.[0] ?? 99);

function sumOf(row: string, all: readonly FaultEntry[]): RowSummary {
  const kinds: Record<string, number> = {};
  for (const { faults } of all) {
    for (const [kind, count] of Object.entries(faults)) kinds[kind] = (kinds[kind] ?? 0) + count;
  }
  const recoveries = all.map((entry) => entry.longestRecoverySeconds).filter((seconds) => seconds !== undefined);
  const sum = (of: (entry: FaultEntry) => number) => all.reduce((total, entry) => total + of(entry), 0);
  return {
    ...{ row, kinds, tests: all.length, faults: Object.values(kinds).reduce((total, count) => total + count, 0) },
    accepted: sum(({ accepted }) => accepted),
    violations: sum(({ violations }) => violations.length),
    longestRecoverySeconds: recoveries.length === 0 ? undefined : Math.max(...recoveries),
    wallSeconds: Math.round(sum(({ wallSeconds }) => wallSeconds)),
  };
}

/** The rows as a table for people; below it what was not as it must be. */
export function tableOf(entries: readonly FaultEntry[]): string {
  const head = ["row", "tests", "faults", "accepted", "violations", "longest recovery", "wall", "of these"];
  const body = summarize(entries).map((it) => [
    ...[it.row, `${it.tests}`, `${it.faults}`, `${it.accepted}`, `${it.violations}`],
    it.longestRecoverySeconds === undefined ? "-" : `${it.longestRecoverySeconds.toFixed(1)} s`,
    `${it.wallSeconds} s`,
    Object.entries(it.kinds)
      .toSorted(([, a], [, b]) => b - a)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(", "),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...body].map((cells) => cells[column]?.length ?? 0)));
  const table = [head, ...body].map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const failures = entries.flatMap(({ row, test, violations }) => violations.map((what) => `${row} ${test}: ${what}`));
  return [...table, ...failures].join("\n");
}

/** Prints the table and writes it beside the report as JSON, with what else is to be said of the run. */
export function conclude(path: string, about: Readonly<Record<string, unknown>> = {}): void {
  const entries = readReport(path);
  if (entries.length === 0) return;
  const file = path.replace(/\.jsonl$/, ".json");
  const said = { ...about, rows: summarize(entries), tests: entries };
  writeFileSync(file, JSON.stringify(said, undefined, 1), { mode: 0o600 });
  console.log(`\n${tableOf(entries)}\n\nfaults: ${file}`);
}
