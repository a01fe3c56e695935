import { InvalidArgumentError } from "commander";

const name = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Checks the name of a VM before anything is asked of a server. */
export function parseVm(text: string): string {
  if (name.test(text)) return text;
  throw new InvalidArgumentError("A name has lower-case letters, digits and dashes, and begins with a letter.");
}

/** The VM that a WORKLOAD means: `vm/NAME`, or a bare NAME. */
export function parseWorkload(text: string): string {
  const [kind, ...rest] = text.split("/");
  if (kind !== undefined && rest.length === 0) return parseVm(kind);
  if (kind === "vm" && rest[0] !== undefined && rest.length === 1) return parseVm(rest[0]);
  throw new InvalidArgumentError("Write vm/NAME, or NAME for a VM.");
}
