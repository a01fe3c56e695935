import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import { projectName } from "#libs/names";
import type { Api, CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { showClonedLine, showDrillLine, showPulledLine } from "../output/clones.ts";
import { checkpointOf } from "../parse/checkpoint-of.ts";
import { collect } from "../parse/collect.ts";
import { type PortForward, parsePortForward } from "../parse/port-forward.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface NewVmOptions extends CommonOptions, WaitOptions {
  readonly start?: boolean;
  readonly port?: readonly PortForward[];
}

interface CloneOptions extends NewVmOptions {
  readonly full?: boolean;
}

interface PullOptions extends NewVmOptions {
  readonly vm?: string;
  readonly container?: string;
  readonly into?: string;
  readonly name?: string;
}

interface DrillOptions extends CommonOptions, WaitOptions {
  readonly timeout?: number;
}

/** What makes a VM, or a checkpoint of one, from a checkpoint. */
export function checkpointCloneCommands(terminal: Terminal): Command[] {
  return [
    withNewVm(
      operationLeaf("clone", "Make a new VM or container from a checkpoint; it is off unless --start is given."),
    )
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument("<new-name>", "of the same kind: lower-case letters, digits and dashes")
      .option("--full", "copy disks or volumes, instead of standing on the same read-only files")
      .action((vm: string, checkpoint: string, newVm: string, options: CloneOptions) =>
        clone(terminal, { vm, checkpoint, newVm }, options),
      ),
    withNewVm(
      operationLeaf(
        "pull",
        "Bring a checkpoint from the registry: as a new VM or container, or as a checkpoint of one.",
      ),
    )
      .argument("<reference>", "in the registry, such as checkpoints/web-1:before")
      .option("--vm <new-vm>", "make this VM from it")
      .option("--container <new-container>", "make this container from it")
      .option("--into <workload>", "add it to the tree of this VM or container", parseWorkload)
      .option("--name <name>", "display name (default: the one that it had)")
      .action((reference: string, options: PullOptions) => pull(terminal, reference, options)),
    operationLeaf(
      "drill",
      "Try a checkpoint: start an isolated clone, see that it is well, run a check command in it, remove it.",
    )
      .usage("[options] <workload> <checkpoint> [-- <command...>]")
      .argument("<workload>", "", parseWorkload)
      .argument("<checkpoint>", "its name or id")
      .argument(
        "[command...]",
        "program and arguments (default: a VM's drill command; of a container its health check alone)",
      )
      .option("--timeout <seconds>", "for it to be up and the command to end (default: 600)", wholeNumber(1, 3_600))
      .action((vm: string, checkpoint: string, command: string[], options: DrillOptions) =>
        drill(terminal, { name: checkpointOf(options, vm, checkpoint), command }, options),
      ),
  ];
}

const withNewVm = (command: Command): Command =>
  command
    .option("--start", "start it; a standard checkpoint goes on at its instant")
    .option(
      "--port <host:guest>",
      "a TCP port of the host; none is taken over; may be repeated",
      collect(parsePortForward),
    );

interface Cloning {
  readonly vm: string;
  readonly checkpoint: string;
  readonly newVm: string;
}

const clone = (terminal: Terminal, { vm, checkpoint, newVm }: Cloning, options: CloneOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.checkpoints()).cloneCheckpoint({
        name: checkpointOf(options, vm, checkpoint),
        vmId: newVm,
        fullCopy: options.full === true,
        start: options.start === true,
        ports: [...(options.port ?? [])],
        requestId,
      }),
    told: async (operation, api) => {
      const received = await receivedCheckpoint(operation, api);
      return showClonedLine(received, { vm, started: options.start === true });
    },
  });

async function pull(terminal: Terminal, reference: string, options: PullOptions): Promise<void> {
  const { vm, container, into, name = "" } = options;
  if ([vm, container, into].filter((it) => it !== undefined).length !== 1) {
    throw new UsageError("say where the checkpoint goes", {
      help: "Pass one of --vm NEW, --container NEW and --into WORKLOAD.",
    });
  }
  const receiver =
    into === undefined
      ? { parent: projectName(options.project), vmId: vm ?? "", containerId: container ?? "" }
      : { workload: workloadName(options.project, into) };
  const start = options.start === true;
  const ports = [...(options.port ?? [])];
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.checkpoints()).pullCheckpoint({ ...receiver, reference, displayName: name, start, ports, requestId }),
    told: async (operation, api) =>
      showPulledLine(await receivedCheckpoint(operation, api), {
        reference,
        isNew: into === undefined,
        into,
        started: start,
      }),
  });
}

async function receivedCheckpoint({ output }: Operation, api: Api) {
  return (await api.checkpoints()).getCheckpoint({ name: String(output?.checkpoint) });
}

interface Drilled {
  readonly name: string;
  readonly command: readonly string[];
}

const drill = (terminal: Terminal, { name, command }: Drilled, options: DrillOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const timeout = options.timeout === undefined ? {} : { timeout: { seconds: options.timeout, nanos: 0 } };
      return (await api.checkpoints()).drillCheckpoint({ name, command: [...command], ...timeout, requestId });
    },
    told: async (_operation, api) => showDrillLine(await (await api.checkpoints()).getCheckpoint({ name })),
  });
