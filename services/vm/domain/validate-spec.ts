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
  type RecoveryToCheck,
  recoveryProblems,
} from "#libs/spec-checks";

/** What a VM is asked to be, as far as it can be wrong. Sizes in bytes. */
export interface SpecToCheck {
  readonly image: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly rootSizeBytes: number;
  readonly disks: readonly { readonly sizeBytes: number; readonly excludeFromCheckpoints?: boolean }[];
  readonly ports: readonly { readonly hostPort: number; readonly guestPort: number }[];
  readonly userData: Uint8Array;
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly kernelArgs: string;
  readonly fromCheckpoint: string;
  readonly host: string;
  readonly isolated: boolean;
  readonly drillCommand: readonly string[];
  readonly freezeWindow?: Length | undefined;
  readonly recovery?: string | undefined;
  readonly recoveryPoint?: Length | undefined;
  readonly drain?: string | undefined;
}

const mebibyte = 2 ** 20;
const tebibyte = 2 ** 40;
const sector = 512;
const maxDisks = 25;
const maxDiskBytes = 64 * tebibyte;
/** A record is one message, and a message of the log holds 1 MiB at most. */
const maxUserDataBytes = 256 * 1024;
/** COMMAND_LINE_SIZE of x86 kernels. */
const maxKernelArgs = 2048;

/** Everything that is wrong with a spec, in the order of its fields; empty when it may be built. */
export function validateSpec(spec: SpecToCheck): Problem[] {
  return [
    ...image(spec),
    ...integerProblems("spec.cpus", spec.cpus, { min: 1, max: 256, says: "must be 1 to 256" }),
    ...integerProblems("spec.memory_bytes", spec.memoryBytes, {
      min: 32 * mebibyte,
      max: 4 * tebibyte,
      says: "must be 32 MiB to 4 TiB",
    }),
    ...(spec.rootSizeBytes === 0 ? [] : diskSize("spec.root_size_bytes", spec.rootSizeBytes)),
    ...disks(spec.disks),
    ...ports(spec.ports),
    ...userData(spec.userData),
    ...labelProblems("spec.host_selector", spec.hostSelector),
    ...kernelArgs(spec.kernelArgs),
    ...hostProblems("spec.host", spec.host),
    ...isolation(spec),
    ...commandProblems("spec.drill_command", spec.drillCommand),
    ...durationProblems("spec.freeze_window", spec.freezeWindow, { least: 1, most: 60 }),
    ...policyProblems("spec.", spec),
  ];
}

function image({ image, fromCheckpoint, rootSizeBytes }: SpecToCheck): Problem[] {
  if (image === "" && fromCheckpoint !== "") {
    if (rootSizeBytes > 0) return [];
    return [{ field: "spec.root_size_bytes", message: "is missing: there is no image to take it from" }];
  }
  return imageProblems("spec.image", image, "debian:12");
}

function diskSize(field: string, sizeBytes: number): Problem[] {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % sector === 0 && sizeBytes <= maxDiskBytes)
    return [];
  return [{ field, message: `must be a multiple of 512 bytes, at most 64 TiB, not ${sizeBytes}` }];
}

function disks(disks: SpecToCheck["disks"]): Problem[] {
  if (disks.length > maxDisks) {
    return [{ field: "spec.disks", message: `has ${disks.length} disks; at most ${maxDisks} are allowed` }];
  }
  return disks.flatMap(({ sizeBytes }, i) => diskSize(`spec.disks[${i}].size_bytes`, sizeBytes));
}

function ports(ports: SpecToCheck["ports"]): Problem[] {
  const seen = new Set<number>();
  return ports.flatMap(({ hostPort, guestPort }, i) => {
    const field = `spec.ports[${i}]`;
    const twice = seen.has(hostPort) ? [{ field: `${field}.host_port`, message: `${hostPort} is given twice` }] : [];
    seen.add(hostPort);
    return [
      ...portProblems(`${field}.host_port`, hostPort),
      ...portProblems(`${field}.guest_port`, guestPort),
      ...twice,
    ];
  });
}

function userData(userData: Uint8Array): Problem[] {
  if (userData.byteLength <= maxUserDataBytes) return [];
  return [
    { field: "spec.user_data", message: `has ${userData.byteLength} bytes; at most ${maxUserDataBytes} are allowed` },
  ];
}

function kernelArgs(kernelArgs: string): Problem[] {
  // Printable ASCII: the kernel reads bytes, and a line break would end the command line of some loaders.
  if (kernelArgs.length <= maxKernelArgs && /^[ -~]*$/.test(kernelArgs)) return [];
  return [{ field: "spec.kernel_args", message: `must be at most ${maxKernelArgs} printable ASCII characters` }];
}

type Policies = RecoveryToCheck & Pick<SpecToCheck, "disks">;

/** What is wrong with what is to happen when its host fails or is drained. `prefix`: "spec." or nothing. */
export function policyProblems(prefix: string, policies: Policies): Problem[] {
  return [...recoveryProblems(prefix, policies), ...leftOut(prefix, policies)];
}

/** What no checkpoint holds is not there after a recovery. */
function leftOut(prefix: string, { recovery, disks }: Policies): Problem[] {
  if (recovery !== "RECOVERY_RESTART") return [];
  return disks.flatMap(({ excludeFromCheckpoints }, i) => {
    const field = `${prefix}disks[${i}].exclude_from_checkpoints`;
    return excludeFromCheckpoints === true ? [{ field, message: "must not be set with recovery restart" }] : [];
  });
}

function isolation({ isolated, ports }: SpecToCheck): Problem[] {
  if (!isolated || ports.length === 0) return [];
  return [{ field: "spec.ports", message: "must be empty: nothing reaches an isolated VM" }];
}
