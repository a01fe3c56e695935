import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { PortForward } from "#contracts/vm/v1/vm";
import { projectName, vmName } from "#libs/names";
import type { CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showBytes } from "../output/units.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { collect } from "../parse/collect.ts";
import { parsePortForward } from "../parse/port-forward.ts";
import { parseWorkload } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

/** What takes a checkpoint elsewhere and brings it back. */
export function checkpointTransportCommands(terminal: Terminal): Command[] {
  return [
    operationLeaf(
      "push",
      "Send a checkpoint to the registry while its VM goes on; only what the registry lacks is sent.",
    )
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument("[ref]", "repository[:tag] (default: checkpoints/WORKLOAD, and the checkpoint's name)")
      .action((vm: string, checkpoint: string, ref: string | undefined, options: CommonOptions & WaitOptions) =>
        runOperation(terminal, options, {
          start: async (api, requestId) => {
            const name = checkpointOf(options, vm, checkpoint);
            return (await api.checkpoints()).pushCheckpoint({ name, reference: ref ?? "", requestId });
          },
          told: tellPushed,
        }),
      ),
    withPullOptions(operationLeaf("pull", "Bring a checkpoint from the registry."))
      .argument("<ref>", "repository[:tag], or repository@sha256:…")
      .action((reference: string, options: PullOptions) => pull(terminal, reference, options)),
  ];
}

/** The options of what brings a checkpoint into a VM. */
export const withPullOptions = (command: Command): Command =>
  command
    .option("--vm <name>", "make a new VM of it")
    .option("--into <workload>", "or: put it into the tree of this VM", parseWorkload)
    .option("--name <name>", "display name of the checkpoint (default: as it was)")
    .option("--start", "start the new VM")
    .option("--port <host:guest>", "forward a port of the new VM's host (repeatable)", collect(parsePortForward), []);

export interface PullOptions extends CommonOptions, WaitOptions {
  readonly vm?: string;
  readonly into?: string;
  readonly name?: string;
  readonly start?: boolean;
  readonly port: PortForward[];
}

function pull(terminal: Terminal, reference: string, options: PullOptions): Promise<void> {
  const receiver = receiverOf(options);
  return runOperation(terminal, options, {
    start: async (api, requestId) => (await api.checkpoints()).pullCheckpoint({ ...receiver, reference, requestId }),
    told: ({ output }) => `${reference} is ${output?.checkpoint}.`,
  });
}

/** Where a checkpoint goes, as a pull says it. */
export function receiverOf({ vm, into, name = "", start = false, port, project }: PullOptions) {
  if ((vm === undefined) === (into === undefined)) {
    throw new UsageError("say where it goes", { help: "Pass --vm NEW for a new VM, or --into WORKLOAD." });
  }
  const common = { displayName: name, start, ports: port };
  return vm === undefined
    ? { ...common, workload: vmName(project, into ?? "") }
    : { ...common, parent: projectName(project), vmId: vm };
}

function tellPushed({ output }: Operation): string {
  const { reference, digest, bytesSent, bytesTotal } = output ?? {};
  const sent = `${showBytes(Number(bytesSent ?? 0))} of ${showBytes(Number(bytesTotal ?? 0))} sent`;
  return `Pushed to ${reference}: ${sent}, ${digest}`;
}
