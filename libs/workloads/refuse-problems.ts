import { StillpointError } from "#libs/errors";
import type { Problem } from "#libs/spec-checks";

/** Throws ARGUMENT_INVALID that names every field that is wrong; does nothing when none is. */
export function refuseProblems(problems: readonly Problem[]): void {
  const [first] = problems;
  if (first === undefined) return;
  const message = problems.map(({ field, message }) => `${field} ${message}`).join("; ");
  throw new StillpointError("ARGUMENT_INVALID", message, { metadata: { field: first.field } });
}
