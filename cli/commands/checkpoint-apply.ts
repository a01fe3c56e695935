import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { Api, CommonOptions } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showCheckpointLine } from "../output/checkpoints.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { parseWorkload } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface ApplyOptions extends CommonOptions, WaitOptions {
  readonly yes?: boolean;
  /** True, or the name of that checkpoint. */
  readonly checkpointFirst?: true | string;
}

/** stillpoint checkpoint apply */
export function checkpointApplyCommand(terminal: Terminal): Command {
  return operationLeaf("apply", "Bring the workload back to a checkpoint; what came since is lost.")
    .argument("<workload>", "", parseWorkload)
    .argument("<checkpoint>", "its name or id")
    .option("--checkpoint-first [name]", "take a checkpoint of now before; without it nothing is applied")
    .option("-y, --yes", "do not ask")
    .action((vm: string, checkpoint: string, options: ApplyOptions) => apply(terminal, { vm, checkpoint }, options));
}

interface Target {
  readonly vm: string;
  readonly checkpoint: string;
}

async function apply(terminal: Terminal, { vm, checkpoint }: Target, options: ApplyOptions): Promise<void> {
  const { checkpointFirst: first } = options;
  if (options.yes !== true) await confirm(terminal, { vm, checkpoint }, first !== undefined);
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.checkpoints()).applyCheckpoint({
        name: checkpointOf(options, vm, checkpoint),
        requestId,
        checkpointFirst: first !== undefined,
        firstDisplayName: typeof first === "string" ? first : "",
      }),
    told: async (operation, api) => `${await tellFirst(operation, api)}Checkpoint ${checkpoint} is applied to ${vm}.`,
  });
}

/** What was reached of the checkpoint that was taken first. */
async function tellFirst({ output }: Operation, api: Api): Promise<string> {
  const name: unknown = output?.first;
  if (typeof name !== "string") return "";
  return `${showCheckpointLine(await (await api.checkpoints()).getCheckpoint({ name }))}\n`;
}

async function confirm(terminal: Terminal, { vm, checkpoint }: Target, isKept: boolean): Promise<void> {
  const consequence = isKept
    ? `${vm} is taken out of what it does, which a checkpoint keeps.`
    : `What ${vm} changed since its last checkpoint will be lost.`;
  const unasked = new UsageError(
    isKept ? "apply takes the VM out of what it does" : "apply discards what changed since the last checkpoint",
    { help: isKept ? "Pass --yes." : "Pass --checkpoint-first to keep it, and --yes." },
  );
  await askFirst(terminal, `${consequence} Apply "${checkpoint}"? [y/N] `, unasked);
}

/** Ends the command when the answer is no; with `unasked` where nobody can be asked. */
export async function askFirst(terminal: Terminal, question: string, unasked: UsageError): Promise<void> {
  const answer = await terminal.ask(question);
  if (answer === undefined) throw unasked;
  if (!/^y(es)?$/i.test(answer.trim())) {
    terminal.err("Nothing was done.\n");
    throw new CommandEnded(exitCodes.failed);
  }
}
