import {
  commandProblems,
  durationProblems,
  hostProblems,
  imageProblems,
  integerProblems,
  type Length,
  labelProblems,
  type Problem,
  portProblems,
  recoveryProblems,
} from "#libs/spec-checks";
import { envProblems, type SecretToCheck, secretProblems } from "./validate-environment.ts";
import { isCleanPath, type VolumeToCheck, volumeProblems } from "./validate-volumes.ts";

/** What a container is asked to be, as far as it can be wrong. Sizes in bytes. Enums are the API's words. */
export interface SpecToCheck {
  readonly image: string;
  readonly fromCheckpoint: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: string;
  readonly secrets: readonly SecretToCheck[];
  readonly volumes: readonly VolumeToCheck[];
  readonly ports: readonly PortToCheck[];
  readonly limits?: { readonly cpuMillis: number; readonly memoryBytes: number; readonly pids: number } | undefined;
  readonly restart?: RestartToCheck | undefined;
  readonly healthCheck?: HealthToCheck | undefined;
  readonly checkpointType: string;
  readonly quiesceCommand: readonly string[];
  readonly pauseWindow?: Length | undefined;
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly host: string;
  readonly isolated: boolean;
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  readonly drain: string;
  readonly recovery?: string | undefined;
  readonly recoveryPoint?: Length | undefined;
}

interface PortToCheck {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

export interface RestartToCheck {
  readonly mode: string;
  readonly maxRetries: number;
}

interface HealthToCheck {
  readonly command: readonly string[];
  readonly interval?: Length | undefined;
  readonly timeout?: Length | undefined;
  readonly startPeriod?: Length | undefined;
  readonly retries: number;
}

const mebibyte = 2 ** 20;
const tebibyte = 2 ** 40;
const longCommand = { maxWords: 256, maxBytes: 32 * 1024 };
const maxPorts = 128;
/** What container engines take. */
const maxUid = 2 ** 31 - 1;
const unknown = "UNRECOGNIZED";

/** Everything that is wrong with a spec, in the order of its fields; empty when it may be built. */
export function validateSpec(spec: SpecToCheck): Problem[] {
  return [
    ...(spec.image === "" && spec.fromCheckpoint !== "" ? [] : imageProblems("spec.image", spec.image, "web:1")),
    ...commandProblems("spec.entrypoint", spec.entrypoint, longCommand),
    // Its first word may be an argument of the image's entrypoint: any word, also an empty one.
    ...commandProblems("spec.command", ["program", ...spec.command], longCommand),
    ...envProblems("spec.env", spec.env),
    ...workingDir(spec.workingDir),
    ...user(spec.user),
    ...secretProblems(spec.secrets),
    ...volumeProblems(spec.volumes),
    ...ports(spec),
    ...limits(spec.limits),
    ...restartProblems("spec.restart", spec.restart),
    ...health(spec.healthCheck),
    ...word("spec.checkpoint_type", spec.checkpointType),
    ...commandProblems("spec.quiesce_command", spec.quiesceCommand),
    ...durationProblems("spec.pause_window", spec.pauseWindow, { least: 1, most: 60 }),
    ...labelProblems("spec.host_selector", spec.hostSelector),
    ...hostProblems("spec.host", spec.host),
    ...capabilities("spec.add_capabilities", spec.addCapabilities, []),
    ...capabilities("spec.drop_capabilities", spec.dropCapabilities, ["ALL"]),
    ...word("spec.drain", spec.drain),
    ...policyProblems("spec.", spec),
  ];
}

type Policies = Pick<SpecToCheck, "host" | "recovery" | "recoveryPoint"> & {
  readonly volumes: readonly Pick<SpecToCheck["volumes"][number], "hostPath" | "excludeFromCheckpoints">[];
};

/** What is to happen when its host fails. @param prefix "spec." or nothing */
export function policyProblems(prefix: string, { volumes, ...policies }: Policies): Problem[] {
  const { recovery, recoveryPoint, host } = policies;
  const left = volumes.flatMap(({ hostPath, excludeFromCheckpoints }, i) => {
    const field = `spec.volumes[${i}].${hostPath === "" ? "exclude_from_checkpoints" : "host_path"}`;
    const isLeftOut = hostPath !== "" || excludeFromCheckpoints === true;
    return isLeftOut ? [{ field, message: "must not be set with recovery restart" }] : [];
  });
  return [
    ...recoveryProblems(prefix, { recovery, recoveryPoint, host }),
    ...(recovery === "RECOVERY_RESTART" ? left : []),
  ];
}

function workingDir(path: string): Problem[] {
  if (path === "" || isCleanPath(path)) return [];
  return [{ field: "spec.working_dir", message: "must be an absolute path without . and .., such as /srv" }];
}

function user(user: string): Problem[] {
  const isRight = (part: string) =>
    /^[0-9]+$/.test(part) ? Number(part) <= maxUid : /^[a-zA-Z_][a-zA-Z0-9_.-]{0,31}$/.test(part);
  const parts = user.split(":");
  if (user === "" || (parts.length <= 2 && parts.every(isRight))) return [];
  return [{ field: "spec.user", message: `must be a name or a uid to ${maxUid}, such as www-data or 1000:1000` }];
}

function ports({ ports, isolated }: SpecToCheck): Problem[] {
  const field = "spec.ports";
  if (isolated && ports.length > 0) {
    return [{ field, message: "must be empty: nothing reaches an isolated container" }];
  }
  if (ports.length > maxPorts)
    return [{ field, message: `has ${ports.length} ports; at most ${maxPorts} are allowed` }];
  const seen = new Set<string>();
  return ports.flatMap((port, i) => {
    const key = `${port.hostPort}/${port.protocol || "tcp"}`;
    const isTwice = seen.has(key);
    seen.add(key);
    return onePort(`${field}[${i}]`, port, isTwice);
  });
}

function onePort(field: string, { hostPort, containerPort, protocol }: PortToCheck, isTwice: boolean): Problem[] {
  return [
    ...portProblems(`${field}.host_port`, hostPort),
    ...portProblems(`${field}.container_port`, containerPort),
    ...(["", "tcp", "udp"].includes(protocol) ? [] : [{ field: `${field}.protocol`, message: "must be tcp or udp" }]),
    ...(isTwice ? [{ field: `${field}.host_port`, message: `${hostPort} is given twice` }] : []),
  ];
}

function limits(limits: SpecToCheck["limits"]): Problem[] {
  if (limits === undefined) return [];
  const given = (field: string, value: number, range: Parameters<typeof integerProblems>[2]) =>
    value === 0 ? [] : integerProblems(`spec.limits.${field}`, value, range);
  const { cpuMillis, memoryBytes, pids } = limits;
  return [
    ...given("cpu_millis", cpuMillis, { min: 10, max: 256_000, says: "must be 10 to 256000" }),
    ...given("memory_bytes", memoryBytes, {
      min: 16 * mebibyte,
      max: 4 * tebibyte,
      says: "must be 16 MiB to 4 TiB",
    }),
    // PID_MAX_LIMIT of 64-bit kernels.
    ...given("pids", pids, { min: 1, max: 4_194_304, says: "must be 1 to 4194304" }),
  ];
}

/** A restart policy; absent is right. */
export function restartProblems(field: string, restart: RestartToCheck | undefined): Problem[] {
  if (restart === undefined) return [];
  const { mode, maxRetries } = restart;
  if (mode === unknown) return [{ field: `${field}.mode`, message: "must be no, on-failure or always" }];
  if (maxRetries !== 0 && mode !== "MODE_ON_FAILURE") {
    return [{ field: `${field}.max_retries`, message: "is for on-failure only" }];
  }
  return integerProblems(`${field}.max_retries`, maxRetries, { min: 0, max: 10_000, says: "must be 0 to 10000" });
}

function health(check: HealthToCheck | undefined): Problem[] {
  if (check === undefined) return [];
  const field = "spec.health_check";
  const hour = 3_600;
  const missing = [{ field: `${field}.command`, message: "is missing: name a program of the image" }];
  return [
    ...(check.command.length === 0 ? missing : commandProblems(`${field}.command`, check.command)),
    ...durationProblems(`${field}.interval`, check.interval, { least: 1, most: hour }),
    ...durationProblems(`${field}.timeout`, check.timeout, { least: 1, most: hour }),
    ...durationProblems(`${field}.start_period`, check.startPeriod, { least: 0, most: hour }),
    ...integerProblems(`${field}.retries`, check.retries, { min: 0, max: 100, says: "must be 0 to 100" }),
  ];
}

/** Names of capabilities(7) without their CAP_, and those words that stand for several. */
function capabilities(field: string, names: readonly string[], also: readonly string[]): Problem[] {
  const isRight = (name: string) => also.includes(name) || (name !== "ALL" && /^(?!CAP_)[A-Z][A-Z_]{1,30}$/.test(name));
  const wrong = names.find((name) => !isRight(name));
  if (wrong === undefined && names.length <= 64) return [];
  const choice = also.length === 0 ? "" : `, or ${also.join(", ")}`;
  return [
    { field, message: `must hold names such as NET_ADMIN${choice}, not ${JSON.stringify(wrong ?? names.length)}` },
  ];
}

const word = (field: string, value: string): Problem[] =>
  value === unknown ? [{ field, message: "is not a word that is known here" }] : [];
