import { InvalidArgumentError } from "commander";
import type { CheckpointType } from "#contracts/vm/v1/vm";

// Written out and not imported: a parser must not load the contracts for --help.
const types: Record<string, CheckpointType> = {
  production: "CHECKPOINT_TYPE_PRODUCTION",
  "production-only": "CHECKPOINT_TYPE_PRODUCTION_ONLY",
  standard: "CHECKPOINT_TYPE_STANDARD",
  disabled: "CHECKPOINT_TYPE_DISABLED",
};

export const parseCheckpointType = (text: string): CheckpointType => parse(types, text);

/** As `parseCheckpointType`, and `default` for the project's. */
export const parseVmCheckpointType = (text: string): CheckpointType =>
  parse({ ...types, default: "CHECKPOINT_TYPE_UNSPECIFIED" }, text);

function parse(known: Record<string, CheckpointType>, text: string): CheckpointType {
  const type = Object.hasOwn(known, text) ? known[text] : undefined;
  if (type === undefined) throw new InvalidArgumentError(`It is ${Object.keys(known).join(", ")}.`);
  return type;
}
