/** One thing that is wrong: the field by its name in the API, and what it should be. */
export interface Problem {
  readonly field: string;
  readonly message: string;
}

const maxLabels = 64;
const labelKey = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** Labels: at most 64; keys of lower-case letters, digits and `._/-`, values of letters, digits and `._-`, each up to 63. */
export function labelProblems(field: string, labels: Readonly<Record<string, string>>): Problem[] {
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

/** A reference in our registry, which may not be empty. `example`: one that people would know. */
export function imageProblems(field: string, image: string, example: string): Problem[] {
  if (image === "") return [{ field, message: `is missing: name an image such as ${example}` }];
  if (image.length <= 512 && reference.test(image)) return [];
  const repository = example.split(":")[0] ?? example;
  return [{ field, message: `must be a reference such as ${example} or ${repository}@sha256:<64 hex digits>` }];
}

export interface Range {
  readonly min: number;
  readonly max: number;
  /** "must be 1 to 256" */
  readonly says: string;
}

export function integerProblems(field: string, value: number, { min, max, says }: Range): Problem[] {
  const isIn = Number.isSafeInteger(value) && value >= min && value <= max;
  return isIn ? [] : [{ field, message: `${says}, not ${value}` }];
}

/** A port number of TCP or UDP. */
export const portProblems = (field: string, port: number): Problem[] =>
  integerProblems(field, port, { min: 1, max: 65_535, says: "must be 1 to 65535" });

/** A host's resource name; empty for any host. */
export function hostProblems(field: string, host: string): Problem[] {
  if (host === "" || /^hosts\/[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(host)) return [];
  return [{ field, message: "must be a host's name such as hosts/n1" }];
}

export interface Length {
  readonly seconds: number;
  readonly nanos: number;
}

/** A length of time from `least` to `most` seconds, both included; absent is right. */
export function durationProblems(
  field: string,
  length: Length | undefined,
  { least, most }: { readonly least: number; readonly most: number },
): Problem[] {
  if (length === undefined) return [];
  const seconds = length.seconds + length.nanos / 1_000_000_000;
  if (seconds >= least && seconds <= most) return [];
  return [{ field, message: `must be between ${least} s and ${most} s` }];
}

const minute = 60;
const unknown = "UNRECOGNIZED";

/** What is to happen when a workload's host fails or is drained. Enums are the API's words. */
export interface RecoveryToCheck {
  readonly recovery?: string | undefined;
  readonly recoveryPoint?: Length | undefined;
  readonly drain?: string | undefined;
  /** hosts/<host>: there or nowhere; empty for any. */
  readonly host: string;
}

/** `prefix`: "spec." or nothing. */
export function recoveryProblems(prefix: string, { recovery, recoveryPoint, drain, host }: RecoveryToCheck): Problem[] {
  const bound = recovery === "RECOVERY_RESTART" && host !== "";
  return [
    ...(recovery === unknown ? [{ field: `${prefix}recovery`, message: "must be none or restart" }] : []),
    ...(bound ? [{ field: `${prefix}recovery`, message: `must not be restart: it has to be on ${host}` }] : []),
    ...durationProblems(`${prefix}recovery_point`, recoveryPoint, { least: minute, most: 7 * 24 * 60 * minute }),
    ...(drain === unknown ? [{ field: `${prefix}drain`, message: "must be stop or move" }] : []),
  ];
}

/** A command as it is run, without a shell: program and arguments, none of them with a NUL. */
export function commandProblems(
  field: string,
  words: readonly string[],
  { maxWords = 64, maxBytes = 4096 }: { readonly maxWords?: number; readonly maxBytes?: number } = {},
): Problem[] {
  if (words[0] === "") return [{ field, message: "must begin with a program" }];
  if (words.some((word) => word.includes("\0"))) return [{ field, message: "must not hold NUL characters" }];
  const length = words.reduce((sum, word) => sum + Buffer.byteLength(word), 0);
  if (words.length <= maxWords && length <= maxBytes) return [];
  return [{ field, message: `must be at most ${maxWords} words of ${maxBytes} bytes in all` }];
}
