import { resolve } from "node:path";
import type { Command } from "commander";
import type { PortForward } from "#contracts/vm/v1/vm";
import { projectName, vmName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { createProgressView } from "../output/progress.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { collect } from "../parse/collect.ts";
import { parsePortForward } from "../parse/port-forward.ts";
import { parseWorkload } from "../parse/workload.ts";
import { type RegistryOptions, registryHelp, withRegistry } from "../registry.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { type WaitOptions, waitForOperation } from "../wait-for-operation.ts";

type ExportOptions = CommonOptions & RegistryOptions;
/** The options of what brings a checkpoint into a VM. */
const withReceiver = (command: Command): Command =>
  command
    .option("--vm <name>", "make a new VM of it")
    .option("--into <workload>", "or: put it into the tree of this VM", parseWorkload)
    .option("--name <name>", "display name of the checkpoint (default: as it was)")
    .option("--start", "start the new VM")
    .option("--port <host:guest>", "forward a port of the new VM's host (repeatable)", collect(parsePortForward), []);

interface ImportOptions extends CommonOptions, WaitOptions, RegistryOptions {
  readonly vm?: string;
  readonly into?: string;
  readonly name?: string;
  readonly start?: boolean;
  readonly port: PortForward[];
}

/** Where a checkpoint goes, as a pull says it. */
function receiverOf({ vm, into, name = "", start = false, port, project }: ImportOptions) {
  if ((vm === undefined) === (into === undefined)) {
    throw new UsageError("say where it goes", { help: "Pass --vm NEW for a new VM, or --into WORKLOAD." });
  }
  const common = { displayName: name, start, ports: port };
  return vm === undefined
    ? { ...common, workload: vmName(project, into ?? "") }
    : { ...common, parent: projectName(project), vmId: vm };
}

/** A checkpoint as a folder that stands for itself. */
export function checkpointFolderCommands(terminal: Terminal): Command[] {
  return [
    leafCommand(
      "export",
      "Write a checkpoint into a folder that stands for itself; it is pushed to the registry first.",
    )
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument("<folder>", "must not exist")
      .option("--registry <url>", registryHelp)
      .action((vm: string, checkpoint: string, folder: string, options: ExportOptions) =>
        withApi(terminal, options, (api) => exportTo(api, { vm, checkpoint, folder: resolve(folder) }, options)),
      ),
    withReceiver(operationLeaf("import", "Bring an exported checkpoint back, every file verified."))
      .argument("<folder>", "as export wrote it")
      .option("--registry <url>", registryHelp)
      .action((folder: string, options: ImportOptions) => importFrom(terminal, resolve(folder), options)),
  ];
}

interface Wanted {
  readonly vm: string;
  readonly checkpoint: string;
  readonly folder: string;
}

async function exportTo(api: Api, { vm, checkpoint, folder }: Wanted, options: ExportOptions): Promise<void> {
  if (vm.startsWith("container/")) {
    const help = "Push it, and pull it where it is to be.";
    throw new UsageError("a folder holds checkpoints of VMs only", { help });
  }
  const { terminal } = api;
  const reference = await pushed(api, checkpointOf(options, vm, checkpoint));
  const exported = await withRegistry(terminal, options, async (registry) => {
    const { exportCheckpoint } = await import("#libs/oci");
    const progress = createProgressView(terminal);
    return await exportCheckpoint({
      ...{ registry, reference, folder, signal: terminal.signal },
      onProgress: ({ doneBytes, totalBytes }) =>
        progress.update({ what: `exporting ${checkpoint}`, bytesDone: doneBytes, bytesTotal: totalBytes }),
    }).finally(() => progress.end());
  });
  const { consistency, kind, displayName } = exported.checkpoint;
  const json = { consistency, kind, displayName, folder, reference, files: exported.files };
  const table = () => `${consistency} consistent: ${kind} checkpoint "${displayName}" is in ${folder}.`;
  await printAnswer(terminal, options.output, { json, table });
}

/** Sends what the registry lacks, which is nothing after a push, and gives the reference by digest. */
async function pushed(api: Api, name: string): Promise<string> {
  const { randomUUID } = await import("node:crypto");
  const { parseReference } = await import("#libs/oci");
  const accepted = await (await api.checkpoints()).pushCheckpoint({ name, reference: "", requestId: randomUUID() });
  const { output } = await waitForOperation(api, accepted);
  const { repository } = parseReference(String(output?.reference));
  return `${repository}@${String(output?.digest)}`;
}

async function importFrom(terminal: Terminal, folder: string, options: ImportOptions): Promise<void> {
  const receiver = receiverOf(options);
  const reference = await withRegistry(terminal, options, async (registry) => {
    const { importCheckpoint } = await import("#libs/oci");
    const progress = createProgressView(terminal);
    const repository = "imports";
    const { descriptor } = await importCheckpoint({
      ...{ registry, folder, repository, tag: "latest", signal: terminal.signal },
      onProgress: ({ doneBytes, totalBytes }) =>
        progress.update({ what: `importing ${folder}`, bytesDone: doneBytes, bytesTotal: totalBytes }),
    }).finally(() => progress.end());
    return `${repository}@${descriptor.digest}`;
  });
  await runOperation(terminal, options, {
    start: async (api, requestId) => (await api.checkpoints()).pullCheckpoint({ ...receiver, reference, requestId }),
    told: ({ output }) => `${folder} is ${String(output?.checkpoint)}.`,
  });
}
