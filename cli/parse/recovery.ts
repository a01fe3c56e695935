import { type Command, InvalidArgumentError, Option } from "commander";
import type { DrainPolicy, Recovery } from "#contracts/vm/v1/vm";
import { parseDuration } from "./duration.ts";

/** What happens to a workload when its host fails or is drained, as the command line says it. */
export interface PolicyOptions {
  readonly recovery?: Recovery;
  readonly recoveryPoint?: { readonly seconds: number };
  readonly drain?: DrainPolicy;
}

/** Adds the options that say it. */
export function withPolicyOptions(command: Command): Command {
  return withRecoveryOptions(command).addOption(
    new Option("--drain <what>", "when its host is drained: stop (default) or move").argParser(parseDrain),
  );
}

/** Adds those for a host that fails. */
export function withRecoveryOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--recovery <what>",
        "when its host fails: none, or restart on another from its recovery point",
      ).argParser(parseRecovery),
    )
    .option("--recovery-point <duration>", "how often such a point is taken, 1m to 168h (default: 15m)", parseDuration);
}

/** Those that were given. */
export function policiesOf({ recovery, recoveryPoint, drain }: PolicyOptions) {
  return {
    ...(recovery && { recovery }),
    ...(recoveryPoint && { recoveryPoint }),
    ...(drain && { drain }),
  };
}

function parseRecovery(text: string): Recovery {
  if (text === "none") return "RECOVERY_NONE";
  if (text === "restart") return "RECOVERY_RESTART";
  throw new InvalidArgumentError("Write none or restart.");
}

function parseDrain(text: string): DrainPolicy {
  if (text === "stop") return "DRAIN_POLICY_STOP";
  if (text === "move") return "DRAIN_POLICY_MOVE";
  throw new InvalidArgumentError("Write stop or move.");
}
