import { readFile } from "node:fs/promises";
import type { SecretKeys } from "#libs/secrets";
import { writeDurably } from "../durable-file.ts";

interface Secret {
  readonly name: string;
  readonly value: Uint8Array;
}

/** Writes a container's secrets into its folder, sealed: memory is empty after a boot. */
export async function keepValues(
  keys: SecretKeys,
  file: string,
  uid: string,
  secrets: readonly Secret[],
): Promise<void> {
  const values = secrets.map(({ name, value }) => [name, Buffer.from(value).toString("base64")]);
  const sealed = keys.seal(Buffer.from(JSON.stringify(values)), nameOf(uid));
  await writeDurably(file, Buffer.from(sealed).toString("base64"));
}

/** @throws StillpointError SECRET_KEY_MISSING, SECRET_DAMAGED */
export async function readValues(keys: SecretKeys, file: string, uid: string): Promise<Secret[]> {
  const opened = keys.open(Buffer.from(await readFile(file, "utf8"), "base64"), nameOf(uid));
  const values = JSON.parse(Buffer.from(opened).toString("utf8")) as [name: string, value: string][];
  return values.map(([name, value]) => ({ name, value: Buffer.from(value, "base64") }));
}

/** Seals them with the first key, if another has sealed them, so that that one can go. @throws as readValues */
export async function resealValues(keys: SecretKeys, file: string, uid: string): Promise<void> {
  if (keys.isCurrent(Buffer.from(await readFile(file, "utf8"), "base64"))) return;
  await keepValues(keys, file, uid, await readValues(keys, file, uid));
}

const nameOf = (uid: string): string => `the secrets of ${uid}`;
