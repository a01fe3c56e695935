import { relative } from "node:path";
import { beforeEach, type TestContext } from "vitest";
import { eventually } from "#libs/testing";
import { repository } from "../harness/command.ts";
import { seeded } from "./draw.ts";
import { report } from "./fault-report.ts";
import { saveStory, type Told } from "./fault-story.ts";
import { acceptedIn } from "./read-logs.ts";

/** Of this run of the tests; STILLPOINT_SEED repeats one. The short suite always makes the same faults. */
export const runSeed = Number(
  process.env.STILLPOINT_SEED ?? (process.env.STILLPOINT_FAULTS === "all" ? Math.floor(Math.random() * 2 ** 31) : 1),
);

/** How long it may take until what was hit works again: a service of ours, and three nodes of NATS. */
export const serviceBoundMs = 30_000;
export const natsBoundMs = 45_000;

type Task = TestContext["task"];

/** One test under faults: its seed decides them, its log tells them. */
export class FaultRun {
  readonly random = seeded(runSeed);
  readonly counts: Record<string, number> = {};
  readonly log: string[] = [];
  readonly startMs = performance.now();
  /** Operations that were accepted, if the test has counted them itself. */
  accepted: number | undefined;
  #longestRecoveryMs: number | undefined;
  readonly #recoveries: Promise<unknown>[] = [];

  get longestRecoverySeconds(): number | undefined {
    return this.#longestRecoveryMs === undefined ? undefined : Math.round(this.#longestRecoveryMs / 100) / 10;
  }

  /** One of them, as the seed says. */
  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.random() * items.length)];
    if (item === undefined) throw new Error("there is nothing to pick from");
    return item;
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  /** Notes that a fault was made. */
  fault(kind: string, what = ""): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    this.note(`${kind} ${what}`);
  }

  note(line: string): void {
    this.log.push(`${((performance.now() - this.startMs) / 1000).toFixed(1)} s  ${line}`);
  }

  /** Waits until what was hit works again, and notes how long that took. Fails when the bound is over. */
  async recovers<Result>(what: string, check: () => Result | Promise<Result>, boundMs = serviceBoundMs) {
    const begunMs = performance.now();
    const result = await eventually(check, { deadlineMs: boundMs, everyMs: 50 });
    this.recovered(what, performance.now() - begunMs);
    return result;
  }

  /** The same beside what goes on: `allRecovered` waits for it. */
  recoversMeanwhile(what: string, check: () => boolean | Promise<boolean>, boundMs = serviceBoundMs): void {
    const recovery = this.recovers(what, check, boundMs);
    recovery.catch(() => undefined);
    this.#recoveries.push(recovery);
  }

  async allRecovered(): Promise<void> {
    await Promise.all(this.#recoveries);
  }

  recovered(what: string, tookMs: number): void {
    this.#longestRecoveryMs = Math.max(this.#longestRecoveryMs ?? 0, tookMs);
    this.note(`${what} after ${Math.round(tookMs)} ms`);
  }
}

/**
 * Has every test of a file tell what came of it: a line in the run's report; when it fails the seed, the faults, the
 * command that runs it again, and where the processes' logs and all records were saved. Gives the run of the test that
 * runs now; of those that run at once, by its task.
 */
export function faultRuns(told: () => Told | undefined = () => undefined): (task?: Task) => FaultRun {
  const runs = new Map<string, FaultRun>();
  let newest = new FaultRun();
  beforeEach(async ({ task, onTestFailed, onTestFinished }) => {
    const run = new FaultRun();
    newest = run;
    runs.set(task.id, run);
    const before = await acceptedIn(told() ?? {});
    onTestFinished(async ({ task: { result } }) => {
      run.accepted ??= Math.max(0, (await acceptedIn(told() ?? {})) - before);
      const violations = (result?.errors ?? []).map(({ message }) => message);
      report({ ...identityOf(task), ...measuresOf(run), violations: result?.state === "fail" ? violations : [] });
    });
    onTestFailed(async ({ task: { result } }) => {
      const errors = (result?.errors ?? []).map(({ stack, message }) => stack ?? message);
      const { row, test, file } = identityOf(task);
      await saveStory(
        { name: `${file}-${row}`, command: againCommand(task, test), run, errors, seed: runSeed },
        told(),
      );
    });
  });
  return (task) => (task === undefined ? newest : (runs.get(task.id) ?? newest));
}

function measuresOf({ counts, accepted = 0, longestRecoverySeconds, startMs }: FaultRun) {
  return {
    ...{ seed: runSeed, faults: counts, accepted, wallSeconds: Math.round((performance.now() - startMs) / 100) / 10 },
    ...(longestRecoverySeconds !== undefined && { longestRecoverySeconds }),
  };
}

function identityOf(task: Task) {
  const test = nameOf(task);
  const rows = new Set([...test.matchAll(/\bF(?:1?\d|20)\b/g)].map(([row]) => row));
  const file = /([^/]+)\.test\.ts$/.exec(task.file.filepath)?.[1] ?? "";
  return { row: [...rows].join(" "), file, test };
}

function nameOf(task: Task): string {
  const names = [task.name];
  for (let suite = task.suite; suite !== undefined && suite.name !== ""; suite = suite.suite) names.unshift(suite.name);
  return names.join(" ");
}

function againCommand(task: Task, test: string): string {
  const set = ["STILLPOINT_FAULTS", "STILLPOINT_FAULT_COUNT"].flatMap((name) =>
    process.env[name] === undefined ? [] : [`${name}=${process.env[name]} `],
  );
  const title = test.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("'", "'\\''");
  const file = relative(repository, task.file.filepath);
  return `${set.join("")}STILLPOINT_SEED=${runSeed} npx vitest run --project faults ${file} -t '${title}'`;
}
