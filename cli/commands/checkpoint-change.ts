import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { vmName } from "#libs/names";
import type { Api, CommonOptions } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showCheckpointLine } from "../output/checkpoints.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import { parseWorkload } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface CreateOptions extends CommonOptions, WaitOptions {
  readonly name?: string;
  readonly type?: CheckpointType;
}

interface ApplyOptions extends CommonOptions, WaitOptions {
  readonly yes?: boolean;
}

export function checkpointChangeCommands(terminal: Terminal): Command[] {
  return [
    operationLeaf("create", "Take a checkpoint.")
      .argument("<workload>", "", parseWorkload)
      .option("--name <name>", "display name, unique in the workload (default: the workload and the time)")
      .option("--type <type>", "production, production-only or standard (default: the workload's)", parseCheckpointType)
      .action((vm: string, options: CreateOptions) => create(terminal, vm, options)),
    operationLeaf("apply", "Bring the workload back to a checkpoint; what came since is lost.")
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .option("-y, --yes", "do not ask")
      .action((vm: string, checkpoint: string, options: ApplyOptions) => apply(terminal, vm, checkpoint, options)),
    operationLeaf("delete", "Delete a checkpoint; its disk content is merged.")
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .action((vm: string, checkpoint: string, options: CommonOptions & WaitOptions) =>
        runOperation(terminal, options, {
          start: async (api, requestId) =>
            (await api.checkpoints()).deleteCheckpoint({ name: checkpointOf(options, vm, checkpoint), requestId }),
          told: () => `Checkpoint ${checkpoint} of ${vm} is deleted.`,
        }),
      ),
  ];
}

/** The name of a checkpoint as people give it: by id, or by display name. */
export const checkpointOf = (options: CommonOptions, vm: string, checkpoint: string): string =>
  `${vmName(options.project, vm)}/checkpoints/${checkpoint}`;

const create = (terminal: Terminal, vm: string, options: CreateOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const parent = vmName(options.project, vm);
      const type = options.type ?? "CHECKPOINT_TYPE_UNSPECIFIED";
      return (await api.checkpoints()).createCheckpoint({ parent, displayName: options.name ?? "", type, requestId });
    },
    told: (operation, api) => tellCreated(operation, api, vm),
  });

/** What was reached, which may be less than was asked for. */
async function tellCreated({ output }: Operation, api: Api, vm: string): Promise<string> {
  const name: unknown = output?.checkpoint ?? output?.name;
  if (typeof name !== "string") return `A checkpoint of ${vm} is taken.`;
  return showCheckpointLine(await (await api.checkpoints()).getCheckpoint({ name }));
}

async function apply(terminal: Terminal, vm: string, checkpoint: string, options: ApplyOptions): Promise<void> {
  if (options.yes !== true) await confirm(terminal, vm, checkpoint);
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.checkpoints()).applyCheckpoint({ name: checkpointOf(options, vm, checkpoint), requestId }),
    told: () => `Checkpoint ${checkpoint} is applied to ${vm}.`,
  });
}

async function confirm(terminal: Terminal, vm: string, checkpoint: string): Promise<void> {
  const answer = await terminal.ask(
    `What ${vm} changed since its last checkpoint will be lost. Apply "${checkpoint}"? [y/N] `,
  );
  if (answer === undefined) {
    throw new UsageError("apply discards what changed since the last checkpoint", {
      help: "Take a checkpoint first, or pass --yes.",
    });
  }
  if (!/^y(es)?$/i.test(answer.trim())) {
    terminal.err("Nothing was done.\n");
    throw new CommandEnded(exitCodes.failed);
  }
}
