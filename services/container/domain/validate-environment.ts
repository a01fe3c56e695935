import type { Problem } from "#libs/spec-checks";

export interface SecretToCheck {
  readonly name: string;
  readonly value: Uint8Array;
}

const maxVariables = 512;
/** A record is one message, and a message of the log holds 1 MiB at most. */
const maxEnvironmentBytes = 64 * 1024;
const maxSecretBytes = 64 * 1024;
const maxSecretsBytes = 256 * 1024;

/** Names as shells know them (POSIX 8.1), and with dots and dashes, which programs of other kinds use. */
const variable = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;

export function envProblems(field: string, env: Readonly<Record<string, string>>): Problem[] {
  const entries = Object.entries(env);
  const wrong = entries.find(([name]) => !variable.test(name));
  if (wrong !== undefined) {
    const what = "has a name that is not 1 to 128 of letters, digits";
    return [{ field, message: `${what}, "_", ".", "-": ${JSON.stringify(wrong[0].slice(0, 100))}` }];
  }
  const withNul = entries.find(([, value]) => value.includes("\0"));
  if (withNul !== undefined) return [{ field, message: `has a NUL character in the value of ${withNul[0]}` }];
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0);
  if (entries.length <= maxVariables && bytes <= maxEnvironmentBytes) return [];
  return [{ field, message: `must be at most ${maxVariables} variables of ${maxEnvironmentBytes} bytes in all` }];
}

/** Values are never told. */
export function secretProblems(secrets: readonly SecretToCheck[]): Problem[] {
  const seen = new Set<string>();
  const each = secrets.flatMap(({ name, value }, i) => {
    const field = `spec.secrets[${i}]`;
    const isTwice = seen.has(name);
    seen.add(name);
    return [...secretName(field, name, isTwice), ...secretSize(field, value)];
  });
  const bytes = secrets.reduce((sum, { value }) => sum + value.byteLength, 0);
  if (each.length > 0 || bytes <= maxSecretsBytes) return each;
  return [{ field: "spec.secrets", message: `have ${bytes} bytes; at most ${maxSecretsBytes} in all are allowed` }];
}

function secretName(field: string, name: string, isTwice: boolean): Problem[] {
  if (!/^[a-zA-Z0-9._-]{1,63}$/.test(name) || name === "." || name === "..") {
    return [{ field: `${field}.name`, message: 'must be 1 to 63 of letters, digits, ".", "_", "-"' }];
  }
  return isTwice ? [{ field: `${field}.name`, message: `${name} is given twice` }] : [];
}

function secretSize(field: string, { byteLength }: Uint8Array): Problem[] {
  if (byteLength <= maxSecretBytes) return [];
  return [{ field: `${field}.value`, message: `has ${byteLength} bytes; at most ${maxSecretBytes} are allowed` }];
}
