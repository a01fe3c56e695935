import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showBytes } from "../output/units.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { parseWorkload } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

/** What takes a checkpoint elsewhere and brings it back. */
export function checkpointTransportCommands(terminal: Terminal): Command[] {
  return [
    operationLeaf(
      "push",
      "Send a checkpoint to the registry while its workload goes on; only what the registry lacks is sent.",
    )
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument(
        "[ref]",
        "repository[:tag] (default: checkpoints/VM or container-checkpoints/CONTAINER, and the checkpoint's name)",
      )
      .action((vm: string, checkpoint: string, ref: string | undefined, options: CommonOptions & WaitOptions) =>
        runOperation(terminal, options, {
          start: async (api, requestId) => {
            const name = checkpointOf(options, vm, checkpoint);
            return (await api.checkpoints()).pushCheckpoint({ name, reference: ref ?? "", requestId });
          },
          told: tellPushed,
        }),
      ),
  ];
}

function tellPushed({ output }: Operation): string {
  const { reference, digest, bytesSent, bytesTotal } = output ?? {};
  const sent = `${showBytes(Number(bytesSent ?? 0))} of ${showBytes(Number(bytesTotal ?? 0))} sent`;
  return `Pushed to ${reference}: ${sent}, ${digest}`;
}
