import type { TestContext } from "vitest";
import { report } from "./fault-report.ts";

/** Has a test that runs seeds of a simulation tell in the run's report what it came to. @param counts asked at its end */
export function reportSimulation(
  { onTestFinished }: Pick<TestContext, "onTestFinished">,
  what: string,
  counts: () => Readonly<Record<string, number>>,
): void {
  const startMs = performance.now();
  onTestFinished(({ task: { name, result } }) => {
    const violations = result?.state === "fail" ? (result.errors ?? []).map(({ message }) => message) : [];
    const wallSeconds = Math.round((performance.now() - startMs) / 100) / 10;
    const seed = Number(process.env.STILLPOINT_SEED ?? 0);
    report({ row: "F1", file: what, test: name, seed, faults: counts(), accepted: 0, violations, wallSeconds });
  });
}
