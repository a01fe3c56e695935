import type { Command } from "commander";
import type { ContainersClient, RestartPolicy } from "#contracts/container/v1/container";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { containerName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { parseVmCheckpointType } from "../parse/checkpoint-type.ts";
import { collectLabel } from "../parse/label.ts";
import { type PolicyOptions, policiesOf, withRecoveryOptions } from "../parse/recovery.ts";
import { parseRestart } from "../parse/restart.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { printContainer } from "./container-read.ts";

interface VerbOptions extends CommonOptions, WaitOptions {
  readonly timeout?: number;
  readonly signal?: string;
  readonly force?: boolean;
  readonly withCheckpoints?: boolean;
  readonly withProtected?: boolean;
}

/** What a verb asks of one container, and what is told when it is done. */
interface Verb {
  ask(
    containers: ContainersClient,
    target: { name: string; requestId: string },
    options: VerbOptions,
  ): Promise<Operation>;
  readonly done: string;
}

export function containerLifeCommands(terminal: Terminal): Command[] {
  const on = (command: Command, verb: Verb) =>
    command.argument("<name>").action((name: string, options: VerbOptions) => act(terminal, verb, name, options));
  return [
    on(operationLeaf("start", "Start a container."), {
      ask: (containers, target) => containers.startContainer(target),
      done: "runs",
    }),
    on(
      operationLeaf("stop", "Ask it to end, and kill it when it does not.").option(
        "--timeout <seconds>",
        "how long it may take before it is killed (default: 10); 0 for not at all",
        wholeNumber(0, 3_600),
      ),
      {
        ask: (containers, target, { timeout }) =>
          containers.stopContainer({ ...target, timeoutSeconds: graceOf(timeout) }),
        done: "is stopped",
      },
    ),
    on(
      operationLeaf("kill", "Send a signal at once.").option(
        "--signal <name>",
        "SIGTERM, HUP and so on (default: SIGKILL, after which it stays stopped)",
      ),
      {
        ask: (containers, target, { signal = "" }) => containers.killContainer({ ...target, signal }),
        done: "was sent the signal",
      },
    ),
    on(
      operationLeaf("delete", "Delete a container and its volumes.")
        .option("--with-checkpoints", "its checkpoints too; without it a container that has some is refused")
        .option("--with-protected", "with --with-checkpoints: also those that are protected")
        .option("--force", "end it first when it runs"),
      {
        ask: (containers, target, { force = false, withCheckpoints = false, withProtected = false }) =>
          containers.deleteContainer({ ...target, force, withCheckpoints, withProtected }),
        done: "is deleted",
      },
    ),
    moveCommand(on),
    setCommand(terminal),
  ];
}

function moveCommand(on: (command: Command, verb: Verb) => Command): Command {
  const command = operationLeaf("move", "Bring it to another host; it is stopped meanwhile.").option(
    "--timeout <seconds>",
    "how long its end may take before it is killed (default: 10); 0 for not at all",
    wholeNumber(0, 3_600),
  );
  return on(command, {
    ask: (containers, target, { timeout }) => containers.moveContainer({ ...target, timeoutSeconds: graceOf(timeout) }),
    done: "was moved",
  });
}

/** As requests say it: -1 for none, 0 for the default. */
const graceOf = (timeout: number | undefined): number => (timeout === 0 ? -1 : (timeout ?? 0));

const act = (terminal: Terminal, verb: Verb, container: string, options: VerbOptions): Promise<void> =>
  runOperation(terminal, options, {
    start: async (api, requestId) => {
      const target = { name: containerName(options.project, container), requestId };
      return verb.ask(await api.containers(), target, options);
    },
    told: () => `Container ${container} ${verb.done}.`,
  });

interface SetOptions extends CommonOptions, Omit<PolicyOptions, "drain"> {
  readonly checkpointType?: CheckpointType;
  readonly restart?: RestartPolicy;
  readonly label?: Readonly<Record<string, string>>;
}

function setCommand(terminal: Terminal): Command {
  return withRecoveryOptions(
    leafCommand("set", "Change a container's settings; they hold from now on. Recovery only while it is off."),
  )
    .argument("<name>")
    .option(
      "--checkpoint-type <type>",
      "production, production-only, standard, disabled, or default for the project's",
      parseVmCheckpointType,
    )
    .option("--restart <policy>", "no, on-failure[:N] or always", parseRestart)
    .option("--label <key=value>", "a label; key= removes it; may be repeated", collectLabel)
    .action((name: string, options: SetOptions) => withApi(terminal, options, (api) => set(api, name, options)));
}

async function set(api: Api, container: string, options: SetOptions) {
  const { project, checkpointType, restart, label } = options;
  const name = containerName(project, container);
  const policies = policiesOf(options);
  const isNothing = checkpointType === undefined && restart === undefined && label === undefined;
  if (isNothing && Object.keys(policies).length === 0) {
    throw new UsageError("there is nothing to set", { help: "Name a setting; see: stillpoint container set --help" });
  }
  const containers = await api.containers();
  const changed = await containers.updateContainer({
    name,
    labels: { ...label },
    ...policies,
    ...(checkpointType === undefined ? {} : { checkpointType }),
    ...(restart === undefined ? {} : { restart }),
  });
  await printContainer(api, changed);
}
