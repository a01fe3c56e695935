import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SecretKeys } from "#libs/secrets";
import { temporaryFolder } from "#libs/testing";
import { keepValues, readValues, resealValues } from "./sealed-values.ts";

test("a container's secrets lie sealed in its folder, and go over to a new key with the agent's next start", async () => {
  await using folder = temporaryFolder();
  const file = join(folder.path, "secrets");
  const [older, newer] = [1, 2].map(() => randomBytes(32).toString("base64"));
  const secrets = [{ name: "db", value: Buffer.from("hunter2") }];
  await keepValues(SecretKeys.parse(`${older}`), file, "ctr-1", secrets);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(Buffer.from(await readFile(file, "utf8"), "base64").includes("hunter2")).toBe(false);

  await resealValues(SecretKeys.parse(`${newer}\n${older}`), file, "ctr-1");
  const after = SecretKeys.parse(`${newer}`);
  expect(await readValues(after, file, "ctr-1")).toEqual(secrets);
  await expect(readValues(after, file, "ctr-2")).rejects.toMatchObject({ reason: "SECRET_DAMAGED" });
  const lost = readValues(SecretKeys.parse(`${older}`), file, "ctr-1");
  await expect(lost).rejects.toMatchObject({
    reason: "SECRET_KEY_MISSING",
    message: expect.stringMatching(/^the secrets of ctr-1: sealed with key /) as string,
  });
});
