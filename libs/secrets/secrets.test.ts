import { randomBytes } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { readKeyFile, SecretKeys } from "./index.ts";

const newKey = () => randomBytes(32).toString("base64");
const value = new Uint8Array(Buffer.from("hunter2"));
const name = "projects/default/containers/web/secrets/db";

test("a value comes back under the name that it was sealed with, and never looks the same twice", () => {
  const keys = SecretKeys.parse(newKey());
  const sealed = keys.seal(value, name);
  expect(keys.open(sealed, name)).toEqual(value);
  expect(keys.open(keys.seal(new Uint8Array(), name), name)).toEqual(new Uint8Array());
  expect(Buffer.from(sealed).includes("hunter2")).toBe(false);
  expect(keys.seal(value, name)).not.toEqual(sealed);
  expect(() => keys.open(sealed, `${name}2`)).toThrow(expect.objectContaining({ reason: "SECRET_DAMAGED" }));
});

test("whatever byte of it is changed or missing, it is refused", () => {
  const keys = SecretKeys.parse(newKey());
  const sealed = keys.seal(value, name);
  for (let at = 0; at < sealed.length; at++) {
    const changed = sealed.map((byte, i) => (i === at ? byte ^ 1 : byte));
    expect(() => keys.open(changed, name)).toThrow(/SECRET_|is not sealed|not what was sealed|not among/);
    expect(() => keys.open(sealed.slice(0, at), name)).toThrow();
  }
});

test("keys are rotated: the first seals, all open, and one that is gone is named", () => {
  const [older, newer] = [newKey(), newKey()];
  const before = SecretKeys.parse(older);
  const sealed = before.seal(value, name);
  const both = SecretKeys.parse(`# since May\n${newer}\n\n${older}\n`);
  expect(both.open(sealed, name)).toEqual(value);
  expect([before.isCurrent(sealed), both.isCurrent(sealed)]).toEqual([true, false]);
  expect(both.isCurrent(both.seal(value, name))).toBe(true);
  const without = SecretKeys.parse(newer);
  const missing = { reason: "SECRET_KEY_MISSING", message: expect.stringMatching(/key [0-9a-f]{16}/) as string };
  expect(() => without.open(sealed, name)).toThrow(expect.objectContaining(missing));
});

test("fingerprints tell equal values, to those with the key", () => {
  const [keys, others] = [SecretKeys.parse(newKey()), SecretKeys.parse(newKey())];
  expect(keys.fingerprint(value)).toBe(keys.fingerprint(new Uint8Array(value)));
  expect(keys.fingerprint(value)).not.toBe(keys.fingerprint(new Uint8Array([1])));
  expect(keys.fingerprint(value)).not.toBe(others.fingerprint(value));
});

test.each(["", "# none", "abc", randomBytes(31).toString("base64"), `${newKey()}x`])("no key: %j", (text) => {
  expect(() => SecretKeys.parse(text)).toThrow();
});

test("a key file is made once, for its owner alone, by however many", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "secrets-key");
  const texts = await Promise.all([1, 2, 3].map(() => readKeyFile(path)));
  expect(new Set(texts).size).toBe(1);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder.path)).toEqual(["secrets-key"]);
  expect(() => SecretKeys.parse(texts[0] ?? "")).not.toThrow();
});
