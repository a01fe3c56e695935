/** For `.ci/run`: which files took longest, how many tests passed, and which failed with what. */
import { writeFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, TestModule } from "vitest/node";

const SLOWEST = 10;
const LINES_OF_ERROR = 30;

export class CiReport implements Reporter {
  readonly #countsPath: string;

  /**
   * @param countsPath the file that gets the numbers of tests that passed and that failed, then what each that failed
   *   says; end-check.ts adds to it
   */
  constructor(countsPath: string) {
    this.#countsPath = countsPath;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const slowest = modules.toSorted((one, other) => secondsOf(other) - secondsOf(one)).slice(0, SLOWEST);
    console.log(`the ${slowest.length} slowest files:`);
    for (const module of slowest)
      console.log(`${secondsOf(module).toFixed(1).padStart(7)} s  ${module.relativeModuleId}`);
    const failed = modules.flatMap(failuresOf);
    const passed = modules.flatMap((module) => [...module.children.allTests("passed")]);
    writeFileSync(this.#countsPath, [`${passed.length} ${failed.length}`, ...failed, ""].join("\n"));
  }
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
