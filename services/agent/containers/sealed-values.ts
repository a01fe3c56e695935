import type { SecretKeys } from "#libs/secrets";

interface Secret {
  readonly name: string;
  readonly value: Uint8Array;
}

/** A container's secrets as text for its folder: memory is empty after a boot. */
export function sealValues(keys: SecretKeys, uid: string, secrets: readonly Secret[]): string {
  const values = secrets.map(({ name, value }) => [name, Buffer.from(value).toString("base64")]);
  const sealed = keys.seal(Buffer.from(JSON.stringify(values)), uid);
  return Buffer.from(sealed).toString("base64");
}

/** @throws StillpointError SECRET_KEY_MISSING, SECRET_DAMAGED */
export function openValues(keys: SecretKeys, uid: string, text: string): Secret[] {
  const opened = keys.open(Buffer.from(text, "base64"), uid);
  const values = JSON.parse(Buffer.from(opened).toString("utf8")) as [name: string, value: string][];
  return values.map(([name, value]) => ({ name, value: Buffer.from(value, "base64") }));
}
