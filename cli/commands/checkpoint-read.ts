import type { Command } from "commander";
import type { ListCheckpointsResponse } from "#contracts/checkpoint/v1/checkpoint";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showTree } from "../output/checkpoint-tree.ts";
import { showCheckpoint, showCheckpoints } from "../output/checkpoints.ts";
import { printAnswer, toYaml } from "../output/format.ts";
import { showStorage } from "../output/storage.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import type { Terminal } from "../terminal.ts";

export function checkpointReadCommands(terminal: Terminal): Command[] {
  const forWorkload = (verb: string, description: string, show: (response: ListCheckpointsResponse) => string) =>
    leafCommand(verb, description)
      .argument("<workload>", "", parseWorkload)
      .action((vm: string, options: CommonOptions) => withApi(terminal, options, (api) => list(api, vm, show)));
  const forCheckpoint = (verb: string, description: string, show: (api: Api, name: string) => Promise<void>) =>
    leafCommand(verb, description)
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .action((vm: string, checkpoint: string, options: CommonOptions) =>
        withApi(terminal, options, (api) => show(api, checkpointOf(options, vm, checkpoint))),
      );
  return [
    forWorkload("list", "List a workload's checkpoints, oldest first.", ({ checkpoints }) =>
      showCheckpoints(checkpoints, new Date()),
    ),
    forWorkload(
      "tree",
      "Show a workload's checkpoints as a tree, and where now is.",
      ({ checkpoints, head, storage }) =>
        `${showTree(checkpoints, head?.parent ?? "", new Date())}${showStorage(storage)}`,
    ),
    forCheckpoint("get", "Show a checkpoint.", get),
    forCheckpoint("receipt", "Show the evidence of a checkpoint.", receipt),
  ];
}

async function list(api: Api, vm: string, show: (response: ListCheckpointsResponse) => string): Promise<void> {
  const checkpoints = await api.checkpoints();
  const response = await checkpoints.listCheckpoints({ parent: workloadName(api.options.project, vm) });
  const contract = await import("#contracts/checkpoint/v1/checkpoint");
  const json = contract.ListCheckpointsResponse.toJSON(response);
  await printAnswer(api.terminal, api.options.output, { json, table: () => show(response) });
}

async function get(api: Api, name: string): Promise<void> {
  const checkpoint = await (await api.checkpoints()).getCheckpoint({ name });
  const { Checkpoint } = await import("#contracts/checkpoint/v1/checkpoint");
  const json = Checkpoint.toJSON(checkpoint);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showCheckpoint(checkpoint) });
}

async function receipt(api: Api, name: string): Promise<void> {
  const { receipt: json = {} } = await (await api.checkpoints()).getCheckpoint({ name });
  const text = await toYaml(json);
  await printAnswer(api.terminal, api.options.output, { json, table: () => text });
}
