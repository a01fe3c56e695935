import type { Command } from "commander";
import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showCheckpoint } from "../output/checkpoints.ts";
import { printAnswer } from "../output/format.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { parseWorkload } from "../parse/workload.ts";
import type { Terminal } from "../terminal.ts";

/** What changes a checkpoint's record and nothing else. */
export function checkpointEditCommands(terminal: Terminal): Command[] {
  const protect = (verb: string, description: string, isProtected: boolean) =>
    leafCommand(verb, description)
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .action((vm: string, checkpoint: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => {
          const name = checkpointOf(options, vm, checkpoint);
          await print(api, await (await api.checkpoints()).protectCheckpoint({ name, protected: isProtected }));
        }),
      );
  return [
    leafCommand("rename", "Give a checkpoint another name.")
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument("<new-name>", "1 to 99 characters, unique in the workload")
      .action((vm: string, checkpoint: string, displayName: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => {
          const name = checkpointOf(options, vm, checkpoint);
          await print(api, await (await api.checkpoints()).renameCheckpoint({ name, displayName }));
        }),
      ),
    protect("protect", "Guard a checkpoint against deletion, by people and by retention.", true),
    protect("unprotect", "Let a checkpoint be deleted again.", false),
  ];
}

async function print(api: Api, checkpoint: Checkpoint): Promise<void> {
  const contract = await import("#contracts/checkpoint/v1/checkpoint");
  const json = contract.Checkpoint.toJSON(checkpoint);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showCheckpoint(checkpoint) });
}
