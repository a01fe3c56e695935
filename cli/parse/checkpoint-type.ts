import { InvalidArgumentError } from "commander";
import type { CheckpointType } from "#contracts/vm/v1/vm";

// Written out and not imported: a parser must not load the contracts for --help.
const types: Record<string, CheckpointType> = {
  production: "CHECKPOINT_TYPE_PRODUCTION",
  "production-only": "CHECKPOINT_TYPE_PRODUCTION_ONLY",
  standard: "CHECKPOINT_TYPE_STANDARD",
  disabled: "CHECKPOINT_TYPE_DISABLED",
};

export function parseCheckpointType(text: string): CheckpointType {
  const type = Object.hasOwn(types, text) ? types[text] : undefined;
  if (type === undefined) throw new InvalidArgumentError(`It is ${Object.keys(types).join(", ")}.`);
  return type;
}
