/** What a VM is asked to be, as far as it can be wrong. Sizes in bytes. */
export interface SpecToCheck {
  readonly image: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly rootSizeBytes: number;
  readonly disks: readonly { readonly sizeBytes: number }[];
  readonly ports: readonly { readonly hostPort: number; readonly guestPort: number }[];
  readonly userData: Uint8Array;
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly kernelArgs: string;
  readonly fromCheckpoint: string;
  readonly host: string;
  readonly isolated: boolean;
  readonly drillCommand: readonly string[];
  readonly freezeWindow?: { readonly seconds: number; readonly nanos: number } | undefined;
}

/** One thing that is wrong: the field by its name in the API, and what it should be. */
export interface Problem {
  readonly field: string;
  readonly message: string;
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
const maxLabels = 64;
const maxDrillWords = 64;
const maxDrillBytes = 4096;

/** Everything that is wrong with a spec, in the order of its fields; empty when it may be built. */
export function validateSpec(spec: SpecToCheck): Problem[] {
  return [
    ...image(spec),
    ...integer("spec.cpus", spec.cpus, { min: 1, max: 256, says: "must be 1 to 256" }),
    ...integer("spec.memory_bytes", spec.memoryBytes, {
      min: 32 * mebibyte,
      max: 4 * tebibyte,
      says: "must be 32 MiB to 4 TiB",
    }),
    ...(spec.rootSizeBytes === 0 ? [] : diskSize("spec.root_size_bytes", spec.rootSizeBytes)),
    ...disks(spec.disks),
    ...ports(spec.ports),
    ...userData(spec.userData),
    ...validateLabels("spec.host_selector", spec.hostSelector),
    ...kernelArgs(spec.kernelArgs),
    ...host(spec.host),
    ...isolation(spec),
    ...drillCommandProblems("spec.drill_command", spec.drillCommand),
    ...freezeWindowProblems(spec),
  ];
}

const labelKey = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** Labels: at most 64; keys of lower-case letters, digits and `._/-`, values of letters, digits and `._-`, each up to 63. */
export function validateLabels(field: string, labels: Readonly<Record<string, string>>): Problem[] {
  const entries = Object.entries(labels);
  if (entries.length > maxLabels)
    return [{ field, message: `has ${entries.length} labels; at most ${maxLabels} are allowed` }];
  return entries.flatMap(([key, value]) => {
    if (!labelKey.test(key)) {
      return [
        { field, message: `has a key that is not 1 to 63 of a-z, 0-9, ".", "_", "/", "-": ${JSON.stringify(key)}` },
      ];
    }
    if (labelValue.test(value)) return [];
    return [{ field, message: `has a value for ${key} that is not 0 to 63 of letters, digits, ".", "_", "-"` }];
  });
}

// The grammar of OCI distribution 1.1: repository name, then :tag, or @digest, or both.
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const reference = new RegExp(
  `^${component}(?:/${component})*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[a-f0-9]{64})?$`,
);

function image({ image, fromCheckpoint, rootSizeBytes }: SpecToCheck): Problem[] {
  if (image === "" && fromCheckpoint !== "") {
    if (rootSizeBytes > 0) return [];
    return [{ field: "spec.root_size_bytes", message: "is missing: there is no image to take it from" }];
  }
  if (image === "") return [{ field: "spec.image", message: "is missing: name an image such as debian:12" }];
  if (image.length <= 512 && reference.test(image)) return [];
  return [{ field: "spec.image", message: "must be a reference such as debian:12 or debian@sha256:<64 hex digits>" }];
}

function integer(
  field: string,
  value: number,
  { min, max, says }: { min: number; max: number; says: string },
): Problem[] {
  return Number.isSafeInteger(value) && value >= min && value <= max
    ? []
    : [{ field, message: `${says}, not ${value}` }];
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
  const range = { min: 1, max: 65_535, says: "must be 1 to 65535" };
  const seen = new Set<number>();
  return ports.flatMap(({ hostPort, guestPort }, i) => {
    const field = `spec.ports[${i}]`;
    const twice = seen.has(hostPort) ? [{ field: `${field}.host_port`, message: `${hostPort} is given twice` }] : [];
    seen.add(hostPort);
    return [
      ...integer(`${field}.host_port`, hostPort, range),
      ...integer(`${field}.guest_port`, guestPort, range),
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

function host(host: string): Problem[] {
  if (host === "" || /^hosts\/[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(host)) return [];
  return [{ field: "spec.host", message: "must be a host's name such as hosts/n1" }];
}

function isolation({ isolated, ports }: SpecToCheck): Problem[] {
  if (!isolated || ports.length === 0) return [];
  return [{ field: "spec.ports", message: "must be empty: nothing reaches an isolated VM" }];
}

function freezeWindowProblems({ freezeWindow }: SpecToCheck): Problem[] {
  if (freezeWindow === undefined) return [];
  const seconds = freezeWindow.seconds + freezeWindow.nanos / 1_000_000_000;
  if (seconds >= 1 && seconds <= 60) return [];
  return [{ field: "spec.freeze_window", message: "must be between 1 s and 60 s" }];
}

/** A command as it is run: program and arguments, none of them with a NUL; at most 64 words of 4 KiB in all. */
export function drillCommandProblems(field: string, words: readonly string[]): Problem[] {
  if (words[0] === "") return [{ field, message: "must begin with a program" }];
  if (words.some((word) => word.includes("\0"))) return [{ field, message: "must not hold NUL characters" }];
  const length = words.reduce((sum, word) => sum + Buffer.byteLength(word), 0);
  if (words.length <= maxDrillWords && length <= maxDrillBytes) return [];
  return [{ field, message: `must be at most ${maxDrillWords} words of ${maxDrillBytes} bytes in all` }];
}
