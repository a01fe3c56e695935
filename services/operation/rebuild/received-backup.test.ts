import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { BackupItem, type BackupMessage } from "#contracts/operation/v1/admin";
import { BackupCounts, formatName } from "#libs/backup";
import { temporaryFolder } from "#libs/testing";
import { receiveBackup } from "./received-backup.ts";

const signal = new AbortController().signal;
const time = new Date("2026-11-23T00:00:00Z");
const item = (it: NonNullable<Parameters<typeof BackupItem.fromPartial>[0]["item"]>) =>
  BackupItem.fromPartial({ item: it });

function messageOf(stream: string, subject: string, sequence: number, data: string): BackupMessage {
  return { stream, subject, sequence, time, data: Buffer.from(data) };
}
const record = (sequence: number, n: number) => {
  const written = { name: "projects/default/groups/a", uid: "grp-a", previous: 0, events: [], body: { n } };
  return messageOf("REC", "rec.projects.default.groups.a", sequence, JSON.stringify(written));
};

async function* backupOf(messages: readonly BackupMessage[], isWhole = true) {
  const counts = new BackupCounts();
  yield item({ $case: "header", value: { format: formatName, time } });
  for (const value of messages) {
    counts.add(value);
    yield item({ $case: "message", value });
  }
  if (isWhole) yield item({ $case: "trailer", value: { counts: counts.counts() } });
}

test("a backup that has come gives the newest of each record and operation, and leaves no file", async () => {
  await using folder = temporaryFolder();
  const messages = [record(7, 1), record(9, 2)];
  messages.push(messageOf("OPS", "op.a", 3, "old"), messageOf("OPS", "op.b", 4, "b"), messageOf("OPS", "op.a", 8, "a"));
  {
    await using backup = await receiveBackup(backupOf(messages), { signal, place: folder.path });
    expect([...backup.records.values()]).toMatchObject([{ version: 9, body: { n: 2 } }]);
    expect(backup).toMatchObject({ time, operationCount: 2 });
    for (let times = 0; times < 2; times++) {
      const operations: string[] = [];
      for await (const data of backup.operations()) operations.push(Buffer.from(data).toString());
      expect(operations).toEqual(["b", "a"]);
    }
  }
  expect(await readdir(folder.path)).toEqual([]);
});

test("one that is cut off is refused, and leaves no file", async () => {
  await using folder = temporaryFolder();
  await expect(receiveBackup(backupOf([record(7, 1)], false), { signal, place: folder.path })).rejects.toMatchObject({
    reason: "BACKUP_DAMAGED",
  });
  expect(await readdir(folder.path)).toEqual([]);
});
