import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Reason, StillpointError } from "#libs/errors";

const run = promisify(execFile);

export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs openssl and gives what it prints. `what`: what it is to make, for people. */
export async function openssl(
  args: readonly string[],
  what: string,
  reason: Reason = "CERTIFICATE_FAILED",
): Promise<Printed> {
  try {
    return await run("openssl", [...args], { timeout: 30_000 });
  } catch (cause) {
    const isThere = (cause as { code?: unknown }).code !== "ENOENT";
    const told = `openssl could not make ${what}: ${reasonOf(cause)}`;
    throw new StillpointError(isThere ? reason : "CERTIFICATE_FAILED", told, { cause });
  }
}

/** The options for a new key in that file. */
export const newKey = (file: string): string[] => {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  return [...curve, "-noenc", "-keyout", file];
};

export const subjectOf = (name: string): string => `/CN=${name.replaceAll("/", "\\/")}`;

/** Writes a configuration that gives certificates these extensions, and none that anybody asks for. */
export async function writeConfig(folder: string, extensions: readonly string[]): Promise<string> {
  const config = join(folder, "config");
  const lines = ["[req]", "distinguished_name=dn", "x509_extensions=x", "[dn]", "[x]", "subjectKeyIdentifier=hash"];
  await writeFile(config, `${[...lines, ...extensions].join("\n")}\n`);
  return config;
}

/** The line in which openssl, or the system, says what is wrong. */
function reasonOf(cause: unknown): string {
  const { code, stderr = "", message = "" } = cause as { code?: unknown; stderr?: string; message?: string };
  if (code === "ENOENT") return "it is not installed";
  return stderr.trim().split("\n").at(-1) || message;
}
