import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { groupName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { printAnswer, toYaml } from "../output/format.ts";
import { showGroupCheckpointLine, showGroupCheckpoints } from "../output/groups.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { askFirst } from "./checkpoint-apply.ts";

type Options = CommonOptions & WaitOptions;

interface CheckpointOptions extends Options {
  readonly name?: string;
  readonly type?: CheckpointType;
}

interface ApplyOptions extends Options {
  readonly yes?: boolean;
}

export function groupCheckpointCommands(terminal: Terminal): Command[] {
  const ofCheckpoint = (verb: Command) => verb.argument("<group>").argument("<checkpoint>", "its name or id");
  return [
    operationLeaf("checkpoint", "Take a checkpoint of all members at one instant.")
      .argument("<group>")
      .option("--name <name>", "display name, unique in the group and its members (default: the group and the time)")
      .option("--type <type>", "production, production-only or standard (default: the group's)", parseCheckpointType)
      .action((group: string, options: CheckpointOptions) => take(terminal, group, options)),
    leafCommand("checkpoints", "List a group's checkpoints, oldest first.")
      .argument("<group>")
      .action((group: string, options: CommonOptions) =>
        withApi(terminal, options, (api) => list(api, groupName(options.project, group))),
      ),
    ofCheckpoint(leafCommand("receipt", "Show the evidence of a group's checkpoint.")).action(
      (group: string, checkpoint: string, options: CommonOptions) =>
        withApi(terminal, options, (api) => receipt(api, checkpointOf(options, group, checkpoint))),
    ),
    ofCheckpoint(operationLeaf("apply", "Bring all members back to a checkpoint; what came since is lost."))
      .option("-y, --yes", "do not ask")
      .action((group: string, checkpoint: string, options: ApplyOptions) =>
        apply(terminal, group, checkpoint, options),
      ),
    ofCheckpoint(operationLeaf("delete-checkpoint", "Delete a checkpoint of all members.")).action(
      (group: string, checkpoint: string, options: Options) =>
        runOperation(terminal, options, {
          start: async (api, requestId) =>
            (await api.groups()).deleteGroupCheckpoint({
              name: checkpointOf(options, group, checkpoint),
              requestId,
            }),
          told: () => `Checkpoint ${checkpoint} of the group ${group} is deleted.`,
        }),
    ),
  ];
}

const checkpointOf = (options: CommonOptions, group: string, checkpoint: string): string =>
  `${groupName(options.project, group)}/checkpoints/${checkpoint}`;

const take = (terminal: Terminal, group: string, options: CheckpointOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const parent = groupName(options.project, group);
      const type = options.type ?? "CHECKPOINT_TYPE_UNSPECIFIED";
      return (await api.groups()).createGroupCheckpoint({
        ...{ parent, displayName: options.name ?? "", type, requestId },
      });
    },
    told: tellTaken,
  });

/** What was reached, which may be less than was asked for. */
async function tellTaken({ output }: Operation, api: Api): Promise<string> {
  const name = String(output?.name);
  return showGroupCheckpointLine(await (await api.groups()).getGroupCheckpoint({ name }));
}

async function apply(terminal: Terminal, group: string, checkpoint: string, options: ApplyOptions): Promise<void> {
  const question = `What the members of ${group} changed since their last checkpoints will be lost. Apply "${checkpoint}"? [y/N] `;
  const help = "Take a checkpoint of the group first, or pass --yes.";
  const unasked = new UsageError("apply discards what changed since the last checkpoints", { help });
  if (options.yes !== true) await askFirst(terminal, question, unasked);
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.groups()).applyGroupCheckpoint({ name: checkpointOf(options, group, checkpoint), requestId }),
    told: () => `Checkpoint ${checkpoint} is applied to every member of ${group}.`,
  });
}

async function list(api: Api, parent: string): Promise<void> {
  const response = await (await api.groups()).listGroupCheckpoints({ parent });
  const { ListGroupCheckpointsResponse } = await import("#contracts/checkpoint/v1/group");
  const json = ListGroupCheckpointsResponse.toJSON(response);
  const table = () => showGroupCheckpoints(response.checkpoints, new Date());
  await printAnswer(api.terminal, api.options.output, { json, table });
}

async function receipt(api: Api, name: string): Promise<void> {
  const { receipt: json = {} } = await (await api.groups()).getGroupCheckpoint({ name });
  const text = await toYaml(json);
  await printAnswer(api.terminal, api.options.output, { json, table: () => text });
}
