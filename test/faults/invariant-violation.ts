/** What must never be, whatever was killed. */
export class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
}

/** Fails and names them. */
export function expectNone(what: string, found: readonly string[]): void {
  if (found.length > 0) throw new InvariantViolation(`${what}: ${found.join(", ")}`);
}
