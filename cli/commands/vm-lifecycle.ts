import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType, VmsClient } from "#contracts/vm/v1/vm";
import { vmName } from "#libs/names";
import { type CommonOptions, withApi } from "../api.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { printVm } from "./vm-read.ts";

interface VerbOptions extends CommonOptions, WaitOptions {
  readonly force?: boolean;
  readonly timeout?: number;
  readonly withCheckpoints?: boolean;
}

/** What a verb asks of one VM, and what is told when it is done. */
interface Verb {
  ask(vms: VmsClient, target: { name: string; requestId: string }, options: VerbOptions): Promise<Operation>;
  readonly done: string;
}

export function vmLifecycleCommands(terminal: Terminal): Command[] {
  const on = (command: Command, verb: Verb) =>
    command.argument("<name>").action((name: string, options: VerbOptions) => act(terminal, verb, name, options));
  return [
    on(operationLeaf("start", "Start a VM."), { ask: (vms, target) => vms.startVm(target), done: "runs" }),
    on(
      operationLeaf("stop", "Ask the guest to power off.")
        .option("--force", "end it at once, as pulling the plug does")
        .option("--timeout <seconds>", "how long the guest may take (default: 60)", wholeNumber(1, 3_600)),
      {
        ask: (vms, target, { force = false, timeout = 0 }) => vms.stopVm({ ...target, force, timeoutSeconds: timeout }),
        done: "is stopped",
      },
    ),
    on(operationLeaf("reboot", "Ask the guest to reboot.").option("--force", "reset it at once"), {
      ask: (vms, target, { force = false }) => vms.rebootVm({ ...target, force }),
      done: "reboots",
    }),
    on(operationLeaf("pause", "Stop the VM's time; its memory stays."), {
      ask: (vms, target) => vms.pauseVm(target),
      done: "is paused",
    }),
    on(operationLeaf("resume", "Let a paused VM go on."), { ask: (vms, target) => vms.resumeVm(target), done: "runs" }),
    on(
      operationLeaf("delete", "Delete a VM and its disks.")
        .option("--with-checkpoints", "its checkpoints too; without it a VM that has some is refused")
        .option("--force", "end it first when it runs"),
      {
        ask: (vms, target, { force = false, withCheckpoints = false }) =>
          vms.deleteVm({ ...target, force, withCheckpoints }),
        done: "is deleted",
      },
    ),
    setCommand(terminal),
  ];
}

const act = (terminal: Terminal, verb: Verb, vm: string, options: VerbOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const target = { name: vmName(options.project, vm), requestId };
      return verb.ask(await api.vms(), target, options);
    },
    told: () => `VM ${vm} ${verb.done}.`,
  });

interface SetOptions extends CommonOptions {
  readonly checkpointType: CheckpointType;
}

function setCommand(terminal: Terminal): Command {
  return leafCommand("set", "Change a VM's settings.")
    .argument("<name>")
    .requiredOption(
      "--checkpoint-type <type>",
      "production, production-only, standard or disabled; for checkpoints from now on",
      parseCheckpointType,
    )
    .action((vm: string, options: SetOptions) =>
      withApi(terminal, options, async (api) => {
        const name = vmName(options.project, vm);
        const { checkpointType } = options;
        await printVm(api, await (await api.vms()).setCheckpointType({ name, checkpointType }));
      }),
    );
}
