import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { Container } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import { containerName, projectName } from "#libs/names";
import type { Api, CommonOptions } from "../api.ts";
import { operationLeaf } from "../leaf-command.ts";
import { collectLabel } from "../parse/label.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { type ContainerOptions, readContainerSpec, withContainerOptions } from "./container-options.ts";

interface RunOptions extends CommonOptions, WaitOptions, ContainerOptions {
  readonly label?: Readonly<Record<string, string>>;
}

export function containerRunCommand(terminal: Terminal): Command {
  return makeCommand("run", "Make a container from an image and start it.", (name, command, options) =>
    make(terminal, { name, command, start: true }, options),
  );
}

export function containerCreateCommand(terminal: Terminal): Command {
  return makeCommand("create", "Make a container from an image; it is not started.", (name, command, options) =>
    make(terminal, { name, command, start: false }, options),
  );
}

function makeCommand(
  verb: string,
  description: string,
  action: (name: string, command: string[], options: RunOptions) => Promise<void>,
): Command {
  return withContainerOptions(
    operationLeaf(verb, description)
      .usage("[options] <name> --image <ref> [-- <command...>]")
      .argument("<name>", "lower-case letters, digits and dashes")
      .argument("[command...]", "instead of the image's; program and arguments, no shell"),
  )
    .option("--label <key=value>", "a label of the container; may be repeated", collectLabel)
    .action(action);
}

interface Wanted {
  readonly name: string;
  readonly command: readonly string[];
  readonly start: boolean;
}

async function make(terminal: Terminal, { name, command, start }: Wanted, options: RunOptions): Promise<void> {
  const spec = await readContainerSpec(terminal, options, command);
  const parent = projectName(options.project);
  const labels = { ...options.label };
  await runOperation(terminal, options, {
    start: async (api, requestId) =>
      (await api.containers()).createContainer({ parent, containerId: name, spec, labels, start, requestId }),
    told: async (_operation, api) => (start ? whatBecameOf(api, name) : `Container ${name} is made.`),
  });
}

/** A program that cannot do its work ends within this time, as a rule. */
const settleMs = 300;
const lookMs = 50;

/** A program that has ended by now was not meant to, unless it says that all is well. */
async function whatBecameOf(api: Api, container: string): Promise<string> {
  const name = containerName(api.options.project, container);
  const { state, stateReason, lastExit } = await settled(api, name);
  if (state === "CONTAINER_STATE_EXITED" && lastExit?.exitCode === 0)
    return `Container ${container} has run to its end.`;
  if (state !== "CONTAINER_STATE_EXITED" && state !== "CONTAINER_STATE_RESTARTING")
    return `Container ${container} runs.`;
  throw new StillpointError("CONTAINER_ENDED", `container ${container} ended at once: ${stateReason}`, {
    help: `See what it printed with: stillpoint container logs ${container}`,
    metadata: { requestId: name },
  });
}

/** The container when it has ended, or has run for a moment; what its host sees comes a little later. */
async function settled(api: Api, name: string): Promise<Container> {
  const containers = await api.containers();
  for (const until = performance.now() + settleMs; ; ) {
    const container = await containers.getContainer({ name });
    if (container.state !== "CONTAINER_STATE_RUNNING" || performance.now() >= until) return container;
    await sleep(lookMs, undefined, { signal: api.terminal.signal });
  }
}
