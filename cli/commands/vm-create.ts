import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { projectName } from "#libs/names";
import type { CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { parseVmCheckpointType } from "../parse/checkpoint-type.ts";
import { collect } from "../parse/collect.ts";
import { type NewDisk, parseDisk } from "../parse/disk.ts";
import { drillCommandHelp } from "../parse/drill-command.ts";
import { parseFreezeWindow } from "../parse/freeze-window.ts";
import { collectLabel } from "../parse/label.ts";
import { type PortForward, parsePortForward } from "../parse/port-forward.ts";
import { type PolicyOptions, policiesOf, withPolicyOptions } from "../parse/recovery.ts";
import { parseShellCommand } from "../parse/shell-command.ts";
import { parseSize } from "../parse/size.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface CreateOptions extends CommonOptions, WaitOptions, PolicyOptions {
  readonly image: string;
  readonly cpus: number;
  readonly memory: number;
  readonly rootSize?: number;
  readonly disk?: readonly NewDisk[];
  readonly port?: readonly PortForward[];
  readonly checkpointType: CheckpointType;
  readonly userData?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly hostLabel?: Readonly<Record<string, string>>;
  readonly kernelArgs?: string;
  readonly host?: string;
  readonly drillCommand?: readonly string[];
  readonly freezeWindow?: ReturnType<typeof parseFreezeWindow>;
  readonly start?: boolean;
}

export function vmCreateCommand(terminal: Terminal): Command {
  return withPolicyOptions(operationLeaf("create", "Make a VM from an image."))
    .argument("<name>", "lower-case letters, digits and dashes")
    .requiredOption("--image <ref>", "image in the registry, such as debian:12")
    .option("--cpus <n>", "virtual CPUs", wholeNumber(1, 2 ** 31 - 1), 1)
    .addOption(new Option("--memory <size>", "memory").argParser(parseSize).default(512 * 2 ** 20, "512MiB"))
    .option("--root-size <size>", "size of the root disk (default: the image's)", parseSize)
    .option(
      "--disk <size[,exclude]>",
      "an additional empty disk; checkpoints leave out an excluded one",
      collect(parseDisk),
    )
    .option("--port <host:guest>", "forward a TCP port of the host; may be repeated", collect(parsePortForward))
    .addOption(
      new Option("--checkpoint-type <type>", "production, production-only, standard or disabled")
        .argParser(parseVmCheckpointType)
        .default("CHECKPOINT_TYPE_UNSPECIFIED", "the project's"),
    )
    .option("--user-data <file>", "cloud-init user-data")
    .option("--label <key=value>", "a label of the VM; may be repeated", collectLabel)
    .option("--host-label <key=value>", "a label that the host must carry; may be repeated", collectLabel)
    .option("--kernel-args <text>", "appended to the image's kernel command line")
    .option("--host <host>", "there or nowhere", (host: string) => `hosts/${host}`)
    .option("--drill-command <text>", drillCommandHelp, parseShellCommand)
    .option("--freeze-window <seconds>", "longest time that the guest stands frozen, 1s to 60s", parseFreezeWindow)
    .option("--start", "start it once it is made")
    .action((name: string, options: CreateOptions) => createVm(terminal, name, options));
}

async function createVm(terminal: Terminal, name: string, options: CreateOptions): Promise<void> {
  const spec = await readSpec(options);
  const parent = projectName(options.project);
  const start = options.start === true;
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.vms()).createVm({ parent, vmId: name, spec, labels: options.label ?? {}, start, requestId }),
    told: () => `VM ${name} is made${start ? " and runs" : ""}.`,
  });
}

async function readSpec(options: CreateOptions) {
  const { image, cpus, memory, rootSize, disk = [], port = [], hostLabel = {} } = options;
  return {
    image,
    cpus,
    memoryBytes: memory,
    rootSizeBytes: rootSize ?? 0,
    disks: [...disk],
    ports: [...port],
    checkpointType: options.checkpointType,
    userData: options.userData === undefined ? new Uint8Array() : await readUserData(options.userData),
    hostSelector: hostLabel,
    kernelArgs: options.kernelArgs ?? "",
    host: options.host ?? "",
    drillCommand: [...(options.drillCommand ?? [])],
    ...(options.freezeWindow === undefined ? {} : { freezeWindow: options.freezeWindow }),
    ...policiesOf(options),
  };
}

async function readUserData(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new UsageError(`${path} cannot be read`, {
      cause,
      help: "Name a file for --user-data.",
    });
  }
}
