/** For `.ci/run`: which files took longest, how many tests passed, and which failed with what. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, TestModule } from "vitest/node";
import { InvariantViolation } from "./faults/invariant-violation.ts";

const SLOWEST = 10;
const LINES_OF_ERROR = 30;
/** More than so many files do not fail by chance. */
const MOST_AGAIN = 4;

export class CiReport implements Reporter {
  readonly #folder: string;

  /**
   * @param folder gets `counts`, the numbers of tests that passed and that failed, `failures`, what those say, and
   *   `again`, the files that may be tried once more; end-check.ts adds `leftovers`
   */
  constructor(folder: string) {
    this.#folder = folder;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const slowest = modules.toSorted((one, other) => secondsOf(other) - secondsOf(one)).slice(0, SLOWEST);
    console.log(`the ${slowest.length} slowest files:`);
    for (const module of slowest)
      console.log(`${secondsOf(module).toFixed(1).padStart(7)} s  ${module.relativeModuleId}`);
    const failures = modules.flatMap(failuresOf);
    const passed = modules.flatMap((module) => [...module.children.allTests("passed")]);
    const again = modules.filter((module) => module.state() === "failed");
    const write = (name: string, lines: readonly string[]) =>
      writeFileSync(join(this.#folder, name), lines.map((line) => `${line}\n`).join(""));
    write("counts", [`${passed.length} ${failures.length}`]);
    write("failures", failures);
    if (again.length <= MOST_AGAIN && again.every(mayFailByChance))
      write(
        "again",
        again.map(({ relativeModuleId }) => relativeModuleId),
      );
  }
}

/** What runs on real servers and guests waits for a machine that others use too. A broken invariant is no chance. */
function mayFailByChance(module: TestModule): boolean {
  if (module.project.name === "unit") return false;
  const errors = [...module.children.allTests("failed")].flatMap((test) => test.result().errors ?? []);
  return errors.every(({ name }) => name !== InvariantViolation.name);
}

/** Its tests and hooks, and what it took to load it. */
function secondsOf(module: TestModule): number {
  const { duration, collectDuration, setupDuration, prepareDuration, environmentSetupDuration } = module.diagnostic();
  return (duration + collectDuration + setupDuration + prepareDuration + environmentSetupDuration) / 1_000;
}

/** The tests that failed and their errors' beginnings; of a file that cannot be loaded, the file and its error. */
function failuresOf(module: TestModule): string[] {
  const tests = [...module.children.allTests("failed")].map(
    (test) => `${module.relativeModuleId} > ${test.fullName}: ${beginning(test.result().errors)}`,
  );
  const isItself = tests.length === 0 && module.state() === "failed";
  return isItself ? [`${module.relativeModuleId}: ${beginning(module.errors())}`] : tests;
}

/** Of the first one, with what it compared. */
function beginning(errors: readonly { readonly message: string; readonly diff?: string }[] = []): string {
  const { message = "", diff } = errors[0] ?? {};
  const lines = stripVTControlCharacters(diff === undefined ? message : `${message}\n${diff}`).split("\n");
  return lines.slice(0, LINES_OF_ERROR).join("\n  ");
}
