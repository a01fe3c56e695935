import type { Command } from "commander";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showReadiness } from "../output/readiness.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import type { Terminal } from "../terminal.ts";

/** Ends with 1 when what the policy asks for first would not be had. */
export function checkpointCheckCommand(terminal: Terminal): Command {
  return leafCommand(
    "check",
    "Tell what a checkpoint would give now, why, and what to do. Ends with 1 if it is less than the policy asks for.",
  )
    .argument("<workload>", "", parseWorkload)
    .action((vm: string, options: CommonOptions) => withApi(terminal, options, (api) => check(api, vm)));
}

async function check(api: Api, vm: string): Promise<void> {
  const checkpoints = await api.checkpoints();
  const readiness = await checkpoints.checkReadiness({ name: workloadName(api.options.project, vm) });
  const { CheckpointReadiness } = await import("#contracts/vm/v1/vm");
  const json = CheckpointReadiness.toJSON(readiness);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showReadiness(readiness) });
  if (readiness.findings.some(({ severity }) => severity === "SEVERITY_ERROR")) {
    throw new CommandEnded(exitCodes.failed);
  }
}
