/**
 * The long fault suite, `make test-faults`: its files one after the other, those that leave a core idle two at a time.
 * It goes on after a file that fails, and each test's result is in the report as soon as the test is over. ARGS:
 *
 *     F7 lease      only these rows and files; all if none is named
 *     --seed 7      the same faults as a run that printed this seed
 *     --count 3     so many of each kind instead of the long suite's counts
 *     --plan        prints what would run, and about how long it takes
 *     --matrix      prints the table of README.md
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { repository } from "../harness/command.ts";
import { conclude, newReport } from "./fault-report.ts";
import { lines, longFiles, type MatrixLine, matrixTable } from "./matrix.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    count: { type: "string" },
    plan: { type: "boolean" },
    matrix: { type: "boolean" },
  },
});

interface Batch {
  readonly what: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly minutes: number;
}

const isRow = (name: string): boolean => /^F\d+$/.test(name);
const rowsOf = ({ row }: MatrixLine): string[] => row.split(" ");

function choose(names: readonly string[]): readonly MatrixLine[] {
  const known = new Set(lines.flatMap((line) => [line.file, ...rowsOf(line)]));
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`${unknown.join(", ")}: no row (F1 to F20) and no file of test/faults`);
  if (names.length === 0) return lines;
  return lines.filter((line) => names.includes(line.file) || rowsOf(line).some((row) => names.includes(row)));
}

const seed = values.seed ?? `${Math.floor(Math.random() * 2 ** 31)}`;
const SIMULATION_MINUTES = 4;

/** Tests of other folders that have more in the long suite. */
const variants = [
  ...["services/agent/merge", "services/agent/crash", "test/guest/guest", "test/e2e/schedules", "test/e2e/demo"],
  ...["test/e2e/cluster", "test/e2e/compose", "test/e2e/container-checkpoints"],
];
const VARIANTS_MINUTES = 15;

function plan(names: readonly string[]): Batch[] {
  const chosen = choose(names);
  const files = [...new Set(chosen.map(({ file }) => file))];
  const own = files.filter((file) => !file.includes("/"));
  const alone = own.filter((file) => longFiles[file]?.alone === true);
  const others = own.filter((file) => longFiles[file]?.alone !== true);
  return [
    ...(files.some((file) => file.startsWith("test/sim")) ? [simulation()] : []),
    ...alone.map((file) => batch(names, chosen, [file], 1)),
    ...(others.length === 0 ? [] : [batch(names, chosen, others, 2)]),
    ...(names.length > 0 ? [] : [ofOtherFolders()]),
  ];
}

function simulation(): Batch {
  return {
    ...{ what: "F1: test/sim", args: ["--project", "unit", "test/sim"], minutes: SIMULATION_MINUTES },
    env: { STILLPOINT_SEEDS: values.count ?? "2000" },
  };
}

const ofOtherFolders = (): Batch => ({
  ...{ what: "variants of other tests", minutes: VARIANTS_MINUTES, env: {} },
  args: ["--project", "integration", "--project", "e2e", ...variants],
});

function batch(names: readonly string[], chosen: readonly MatrixLine[], files: string[], workers: number): Batch {
  const rows = [...new Set(chosen.filter(({ file }) => files.includes(file)).flatMap(rowsOf))];
  const named = files.some((file) => names.includes(file)) ? [] : names.filter(isRow);
  const paths = files.map((file) => `test/faults/${file}.test.ts`);
  const only = named.length === 0 ? [] : ["-t", `\\b(${named.join("|")})\\b`];
  const minutes = files.reduce((sum, file) => sum + (longFiles[file]?.minutes ?? 1), 0) / workers;
  return {
    what: `${rows.join(" ")}: ${files.join(", ")}${workers > 1 ? `, ${workers} at a time` : ""}`,
    args: ["--project", "faults", `--maxWorkers=${workers}`, ...only, ...paths],
    env: { STILLPOINT_SEED: seed, ...(values.count !== undefined && { STILLPOINT_FAULT_COUNT: values.count }) },
    minutes,
  };
}

/** Gives whether it passed. Ctrl-C reaches it too, and what it has begun. */
async function run({ args, env }: Batch, path: string): Promise<boolean> {
  const child = spawn(join(repository, "node_modules/.bin/vitest"), ["run", ...args], {
    cwd: repository,
    stdio: "inherit",
    env: { ...process.env, ...env, STILLPOINT_FAULTS: "all", STILLPOINT_FAULT_REPORT: path },
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code === 0;
}

async function main(): Promise<void> {
  if (values.matrix === true) {
    console.log(matrixTable());
    return;
  }
  const batches = plan(positionals);
  const minutes = batches.reduce((sum, batch) => sum + batch.minutes, 0);
  console.log(`seed ${seed}; about ${Math.round(minutes)} minutes on two cores:`);
  for (const { what, minutes: each } of batches) console.log(`  ${each.toFixed(1).padStart(5)} min  ${what}`);
  if (values.plan === true) return;
  const path = newReport();
  const startMs = performance.now();
  const stop = new AbortController();
  // What runs now hears Ctrl-C itself, and ends what it has begun.
  process.on("SIGINT", () => stop.abort());
  const failed: string[] = [];
  for (const batch of batches) {
    if (stop.signal.aborted) failed.push(`stopped before ${batch.what}`);
    else if (!(await run(batch, path))) failed.push(batch.what);
  }
  const wallSeconds = Math.round((performance.now() - startMs) / 1_000);
  conclude(path, { seed, wallSeconds, failed });
  console.log(`seed ${seed}, ${Math.round(wallSeconds / 60)} minutes in all`);
  if (failed.length > 0) console.log(`failed:\n  ${failed.join("\n  ")}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

await main();
