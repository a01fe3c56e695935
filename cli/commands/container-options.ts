import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import type { RestartPolicy } from "#contracts/container/v1/container";
import type { CheckpointType, Recovery } from "#contracts/vm/v1/vm";
import { parseVmCheckpointType } from "../parse/checkpoint-type.ts";
import { collect } from "../parse/collect.ts";
import { type ContainerPort, parseContainerPort } from "../parse/container-port.ts";
import { parseCpus } from "../parse/cpus.ts";
import { parseDuration } from "../parse/duration.ts";
import { parseFreezeWindow } from "../parse/freeze-window.ts";
import { collectLabel } from "../parse/label.ts";
import { policiesOf, withRecoveryOptions } from "../parse/recovery.ts";
import { parseRestart } from "../parse/restart.ts";
import { parseSecret, type SecretFile } from "../parse/secret.ts";
import { parseShellCommand } from "../parse/shell-command.ts";
import { parseSize } from "../parse/size.ts";
import { parseVariable, parseVariables, toEnvironment, type Variable } from "../parse/variable.ts";
import { parseVolume, type Volume } from "../parse/volume.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

type Duration = ReturnType<typeof parseDuration>;

/** What a container is made of, as the command line says it. */
export interface ContainerOptions {
  readonly image: string;
  readonly port?: readonly ContainerPort[];
  readonly volume?: readonly Volume[];
  readonly env?: readonly Variable[];
  readonly envFile?: readonly string[];
  readonly secret?: readonly SecretFile[];
  readonly cpus?: number;
  readonly memory?: number;
  readonly pids?: number;
  readonly restart?: RestartPolicy;
  readonly healthCmd?: readonly string[];
  readonly healthInterval?: Duration;
  readonly healthTimeout?: Duration;
  readonly healthStartPeriod?: Duration;
  readonly healthRetries?: number;
  readonly user?: string;
  readonly workdir?: string;
  readonly entrypoint?: string;
  readonly readOnly?: boolean;
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly quiesce?: readonly string[];
  readonly pauseWindow?: ReturnType<typeof parseFreezeWindow>;
  readonly checkpointType: CheckpointType;
  readonly isolated?: boolean;
  readonly host?: string;
  readonly hostLabel?: Readonly<Record<string, string>>;
  readonly drain?: "stop" | "move";
  readonly recovery?: Recovery;
  readonly recoveryPoint?: { readonly seconds: number };
}

const word = (text: string) => text;
const capability = (text: string) => text.toUpperCase().replace(/^CAP_/, "");

/** Adds the options that say what a container is. */
export function withContainerOptions(command: Command): Command {
  return withPolicies(
    command
      .requiredOption("--image <ref>", "image in the registry, such as web:1")
      .option(
        "--port <host:container>",
        "publish a port, 53:53/udp for UDP; may be repeated",
        collect(parseContainerPort),
      )
      .option(
        "--volume <name:path[:ro]>",
        "a volume that lives with the container, or a folder that the host allows (/srv/web:/data); :exclude leaves it out of checkpoints; may be repeated",
        collect(parseVolume),
      )
      .option("--env <name=value>", "an environment variable; NAME alone passes on its own", collect(parseVariable))
      .option("--env-file <file>", "a file of NAME=VALUE lines; may be repeated", collect(word))
      .option("--secret <name=file>", "what a file holds, as /run/secrets/NAME; may be repeated", collect(parseSecret))
      .option("--cpus <n>", "CPUs, such as 0.5 (default: 1)", parseCpus)
      .option("--memory <size>", "memory (default: 256MiB)", parseSize)
      .option("--pids <n>", "processes and threads (default: 1024)", wholeNumber(1, 4_194_304))
      .option("--user <user>", "name or uid[:gid] (default: the image's)")
      .option("--workdir <path>", "where it runs (default: the image's)")
      .option("--entrypoint <program>", "instead of the image's; its arguments come after --")
      .option("--read-only", "its root file system cannot be written to")
      .option("--cap-add <name>", "a Linux capability that its host allows, such as NET_ADMIN", collect(capability))
      .option("--cap-drop <name>", "a Linux capability that it does not need, or ALL", collect(capability))
      .option("--isolated", "it reaches nothing and nothing reaches it"),
  );
}

function withPolicies(command: Command): Command {
  return withRecoveryOptions(command)
    .option("--restart <policy>", "no, on-failure[:N] or always (default: no)", parseRestart)
    .option("--health-cmd <text>", "what tells that it is well, by /bin/sh -c", parseShellCommand)
    .option("--health-interval <duration>", "how often (default: 30s)", parseDuration)
    .option("--health-timeout <duration>", "how long that may take (default: 30s)", parseDuration)
    .option("--health-start-period <duration>", "how long failures do not count after a start", parseDuration)
    .option("--health-retries <n>", "failures in a row (default: 3)", wholeNumber(1, 100))
    .addOption(
      new Option("--checkpoint-type <type>", "production, production-only, standard or disabled")
        .argParser(parseVmCheckpointType)
        .default("CHECKPOINT_TYPE_UNSPECIFIED", "the project's"),
    )
    .option("--quiesce <text>", "what holds its application still for a checkpoint, by /bin/sh -c", parseShellCommand)
    .option("--pause-window <seconds>", "longest time that it stands still, 1s to 60s", parseFreezeWindow)
    .option("--host <host>", "there or nowhere", (host: string) => `hosts/${host}`)
    .option("--host-label <key=value>", "a label that the host must carry; may be repeated", collectLabel)
    .addOption(new Option("--drain <what>", "when its host is drained (default: stop)").choices(["stop", "move"]));
}

/** The spec that the options mean; reads the files that they name. */
export async function readContainerSpec(terminal: Terminal, options: ContainerOptions, command: readonly string[]) {
  const { cpus = 0, memory = 0, pids = 0 } = options;
  const files = await Promise.all((options.envFile ?? []).map((file) => readText(file, "--env-file")));
  const secrets = (options.secret ?? []).map(async ({ name, file }) => ({ name, value: await read(file, "--secret") }));
  return {
    image: options.image,
    entrypoint: options.entrypoint === undefined ? [] : [options.entrypoint],
    command: [...command],
    env: toEnvironment([...files.flatMap(parseVariables), ...(options.env ?? [])], terminal.env),
    workingDir: options.workdir ?? "",
    user: options.user ?? "",
    secrets: await Promise.all(secrets),
    volumes: [...(options.volume ?? [])],
    ports: [...(options.port ?? [])],
    limits: { cpuMillis: cpus, memoryBytes: memory, pids },
    readOnlyRoot: options.readOnly === true,
    addCapabilities: [...(options.capAdd ?? [])],
    dropCapabilities: [...(options.capDrop ?? [])],
    isolated: options.isolated === true,
    ...policies(options),
  };
}

function policies(options: ContainerOptions) {
  const { restart, pauseWindow, drain, recovery, recoveryPoint } = options;
  return {
    ...(restart === undefined ? {} : { restart }),
    ...healthCheck(options),
    checkpointType: options.checkpointType,
    quiesceCommand: [...(options.quiesce ?? [])],
    ...(pauseWindow === undefined ? {} : { pauseWindow }),
    host: options.host ?? "",
    hostSelector: options.hostLabel ?? {},
    ...policiesOf({ ...(recovery && { recovery }), ...(recoveryPoint && { recoveryPoint }) }),
    ...(drain === undefined ? {} : ({ drain: drain === "move" ? "DRAIN_POLICY_MOVE" : "DRAIN_POLICY_STOP" } as const)),
  };
}

function healthCheck(options: ContainerOptions) {
  const { healthCmd, healthInterval, healthTimeout, healthStartPeriod, healthRetries = 0 } = options;
  if (healthCmd === undefined) {
    const isAlone = [healthInterval, healthTimeout, healthStartPeriod, options.healthRetries].some(
      (it) => it !== undefined,
    );
    if (!isAlone) return {};
    throw new UsageError("there is no health check to time", { help: "Say what to run with --health-cmd." });
  }
  const timing = { interval: healthInterval, timeout: healthTimeout, startPeriod: healthStartPeriod };
  const given = Object.fromEntries(Object.entries(timing).filter(([, length]) => length !== undefined));
  return { healthCheck: { command: [...healthCmd], retries: healthRetries, ...given } };
}

async function read(path: string, option: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new UsageError(`${path} cannot be read`, { cause, help: `Name a file for ${option}.` });
  }
}

const readText = async (path: string, option: string) => Buffer.from(await read(path, option)).toString();
