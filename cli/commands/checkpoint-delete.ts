import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import type { Api, CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { createProgressView } from "../output/progress.ts";
import { isMerged, mergeDebt } from "../output/storage.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface DeleteOptions extends CommonOptions, WaitOptions {
  readonly subtree?: boolean;
  readonly wait?: boolean;
}

/** stillpoint checkpoint delete */
export function checkpointDeleteCommand(terminal: Terminal): Command {
  return operationLeaf("delete", "Delete a checkpoint, in any position; its disk content is merged in the background.")
    .argument("<workload>", "", parseWorkload)
    .argument("<checkpoint>", "its name or id")
    .option("--subtree", "and all that stand on it; now goes on from what is below")
    .option("--wait", "wait until nothing is left to merge")
    .action((vm: string, checkpoint: string, options: DeleteOptions) =>
      runOperation(terminal, options, {
        start: async (api, requestId) => {
          const name = checkpointOf(options, vm, checkpoint);
          return (await api.checkpoints()).deleteCheckpoint({ name, requestId, subtree: options.subtree === true });
        },
        told: async (operation, api) => {
          const storage = await mergedStorage(api, workloadName(options.project, vm), options.wait === true);
          return `${tellDeleted(operation, checkpoint, vm)} ${tellStorage(storage)}`.trimEnd();
        },
      }),
    );
}

function tellDeleted({ output }: Operation, checkpoint: string, vm: string): string {
  const count = Array.isArray(output?.deleted) ? output.deleted.length : 1;
  const above = count > 1 ? ` and ${count - 1} that stood on it are` : " is";
  return `Checkpoint ${checkpoint} of ${vm}${above} deleted.`;
}

function tellStorage(storage: CheckpointStorage | undefined): string {
  if (storage === undefined) return "";
  return isMerged(storage) ? "Nothing is left to merge." : `To merge in the background: ${mergeDebt(storage)}.`;
}

const lookMs = 500;

/** What is left to merge; with `wait`, when that is nothing, or when what is left has to wait for something else. */
async function mergedStorage(api: Api, parent: string, wait: boolean): Promise<CheckpointStorage | undefined> {
  const checkpoints = await api.checkpoints();
  const { signal } = api.terminal;
  const look = async () => (await checkpoints.listCheckpoints({ parent }, { signal })).storage;
  let storage = await look();
  if (!wait) return storage;
  const { setTimeout: sleep } = await import("node:timers/promises");
  const view = createProgressView(api.terminal);
  try {
    while (storage !== undefined && !isMerged(storage) && storage.mergeWaitsFor === "") {
      const { mergeDoneBytes: bytesDone, mergeTotalBytes: bytesTotal } = storage;
      view.update({ what: "checkpoint.delete", step: "merging disks", bytesDone, bytesTotal });
      await sleep(lookMs, undefined, { signal });
      storage = await look();
    }
  } finally {
    view.end();
  }
  return storage;
}
