import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { Container } from "#contracts/container/v1/container";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { createMemoryLog, createRecordStore, RecordView } from "#libs/records";
import { SecretKeys } from "#libs/secrets";
import { resealAll } from "./reseal.ts";
import { openSecrets, sealSecrets } from "./sealed-secrets.ts";

const [older, newer] = [newKey(), newKey()];
const [before, both, after] = [older, `${newer}\n${older}`, newer].map((text) => SecretKeys.parse(text)) as [
  SecretKeys,
  SecretKeys,
  SecretKeys,
];

test("each value opens in its own container and under its own name alone", () => {
  const sealed = sealSecrets(before, containerOf("web", "hunter2"));
  expect(openSecrets(before, sealed)).toEqual(containerOf("web", "hunter2"));
  const moved = { ...sealed, name: "projects/default/containers/other" };
  expect(() => openSecrets(before, moved)).toThrow(expect.objectContaining({ reason: "SECRET_DAMAGED" }));
  expect(() => sealSecrets(undefined, containerOf("web", "hunter2"))).toThrow("no key to keep secrets with");
  expect(sealSecrets(undefined, containerOf("web"))).toEqual(containerOf("web"));
});

test("a new first key takes over what is there, so that the old one can go; what cannot be opened stays", async () => {
  const log = createMemoryLog(clock);
  const records = createRecordStore({ log, codec: Container, clock, random });
  for (const [name, keys] of [
    ["web", before],
    ["lost", SecretKeys.parse(newKey())],
    ["new", after],
  ] as const) {
    const body = sealSecrets(keys, containerOf(name, "hunter2"));
    await records.create(body.name, { uid: `ctr-${name}`, body });
  }
  const signal = AbortSignal.timeout(60_000);
  const view = await RecordView.start({ log, filter: "rec.projects.*.containers.*", codec: Container, signal });
  await resealAll({ records, view, secretKeys: both, logger: silentLogger });
  const stored = async (id: string) => await records.get(containerOf(id).name);
  expect(openSecrets(after, (await stored("web"))?.body as Container)).toEqual(containerOf("web", "hunter2"));
  expect((await stored("new"))?.version).toBe(3);
  const lost = (await stored("lost"))?.body as Container;
  expect(() => openSecrets(both, lost)).toThrow(expect.objectContaining({ reason: "SECRET_KEY_MISSING" }));
});

function newKey(): string {
  return randomBytes(32).toString("base64");
}

function containerOf(id: string, value?: string): Container {
  const secrets = value === undefined ? [] : [{ name: "db", value: new TextEncoder().encode(value) }];
  return Container.fromPartial({ name: `projects/default/containers/${id}`, spec: { image: "web:1", secrets } });
}
