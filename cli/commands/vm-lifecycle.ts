import type { Command } from "commander";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType, VmsClient } from "#contracts/vm/v1/vm";
import { vmName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { parseVmCheckpointType } from "../parse/checkpoint-type.ts";
import { drillCommandHelp } from "../parse/drill-command.ts";
import { type PolicyOptions, policiesOf, withPolicyOptions } from "../parse/recovery.ts";
import { parseShellCommand } from "../parse/shell-command.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { printVm } from "./vm-read.ts";

interface VerbOptions extends CommonOptions, WaitOptions {
  readonly force?: boolean;
  readonly timeout?: number;
  readonly withCheckpoints?: boolean;
  readonly withProtected?: boolean;
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
    on(
      operationLeaf("move", "Bring it to another host; it is off meanwhile.").option(
        "--timeout <seconds>",
        "how long the guest may take to power off (default: 60)",
        wholeNumber(1, 3_600),
      ),
      { ask: (vms, target, { timeout = 0 }) => vms.moveVm({ ...target, timeoutSeconds: timeout }), done: "was moved" },
    ),
    on(operationLeaf("pause", "Stop the VM's time; its memory stays."), {
      ask: (vms, target) => vms.pauseVm(target),
      done: "is paused",
    }),
    on(operationLeaf("resume", "Let a paused VM go on."), { ask: (vms, target) => vms.resumeVm(target), done: "runs" }),
    on(
      operationLeaf("delete", "Delete a VM and its disks.")
        .option("--with-checkpoints", "its checkpoints too; without it a VM that has some is refused")
        .option("--with-protected", "with --with-checkpoints: also those that are protected")
        .option("--force", "end it first when it runs"),
      {
        ask: (vms, target, { force = false, withCheckpoints = false, withProtected = false }) =>
          vms.deleteVm({ ...target, force, withCheckpoints, withProtected }),
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

interface SetOptions extends CommonOptions, PolicyOptions {
  readonly checkpointType?: CheckpointType;
  readonly drillCommand?: readonly string[];
}

function setCommand(terminal: Terminal): Command {
  return withPolicyOptions(leafCommand("set", "Change a VM's settings; recovery only while it is off."))
    .argument("<name>")
    .option(
      "--checkpoint-type <type>",
      "production, production-only, standard, disabled, or default for the project's; from now on",
      parseVmCheckpointType,
    )
    .option("--drill-command <text>", `${drillCommandHelp}; "" for none`, parseShellCommand)
    .action((vm: string, options: SetOptions) => withApi(terminal, options, (api) => setVm(api, vm, options)));
}

async function setVm(api: Api, vm: string, options: SetOptions): Promise<void> {
  const { project, checkpointType, drillCommand } = options;
  const name = vmName(project, vm);
  const policies = policiesOf(options);
  const arePolicies = Object.keys(policies).length > 0;
  if (checkpointType === undefined && drillCommand === undefined && !arePolicies) {
    throw new UsageError("there is nothing to set", { help: "Name a setting; see: stillpoint vm set --help" });
  }
  const vms = await api.vms();
  if (checkpointType !== undefined) await vms.setCheckpointType({ name, checkpointType });
  if (drillCommand !== undefined) await vms.setDrillCommand({ name, drillCommand: [...drillCommand] });
  if (arePolicies) await vms.updateVm({ name, ...policies });
  await printVm(api, await vms.getVm({ name }));
}
