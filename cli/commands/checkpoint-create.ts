import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import type { Api, CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showCheckpointLine } from "../output/checkpoints.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import { collect } from "../parse/collect.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface CreateOptions extends CommonOptions, WaitOptions {
  readonly name?: string;
  readonly type?: CheckpointType;
  readonly exclude?: readonly string[];
}

/** stillpoint checkpoint create */
export function checkpointCreateCommand(terminal: Terminal): Command {
  return operationLeaf("create", "Take a checkpoint.")
    .argument("<workload>", "", parseWorkload)
    .option("--name <name>", "display name, unique in the workload (default: the workload and the time)")
    .option("--type <type>", "production, production-only or standard (default: the workload's)", parseCheckpointType)
    .option("--exclude <disk>", "leave out an additional disk, such as disk1; may be repeated", collect(String))
    .action((vm: string, options: CreateOptions) => create(terminal, vm, options));
}

const create = (terminal: Terminal, vm: string, options: CreateOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const parent = workloadName(options.project, vm);
      const type = options.type ?? "CHECKPOINT_TYPE_UNSPECIFIED";
      const { name: displayName = "", exclude = [] } = options;
      const excludeDisks = [...exclude];
      return (await api.checkpoints()).createCheckpoint({ parent, displayName, type, requestId, excludeDisks });
    },
    told: (operation, api) => tellCreated(operation, api, vm),
  });

/** What was reached, which may be less than was asked for. */
async function tellCreated({ output }: Operation, api: Api, vm: string): Promise<string> {
  const name: unknown = output?.checkpoint ?? output?.name;
  if (typeof name !== "string") return `A checkpoint of ${vm} is taken.`;
  return showCheckpointLine(await (await api.checkpoints()).getCheckpoint({ name }));
}
