import type { Operation } from "#contracts/operation/v1/operation";

/** It is there, or stays where it was. */
const decided: ReadonlySet<string> = new Set(["stay", "go-on", "conclude"]);

/**
 * Whether an operation that has not ended is a recovery that may yet bring its workload to another host. Once it has found
 * that the workload stays, or takes back what it has done, it does not; nor once the workload's record names the new one.
 * What was begun of `switch` is not taken back. Known by the step, which is written before it is begun.
 */
export function mayBringAway({ kind, progress }: Pick<Operation, "kind" | "progress">): boolean {
  const step = progress?.step ?? "";
  return /^(vm|container)\.recover$/.test(kind) && !decided.has(step) && !/^undo (?!switch$)/.test(step);
}
