import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BackupItem } from "#contracts/operation/v1/admin";
import { isStillpointError } from "#libs/errors";
import { temporaryFolder } from "#libs/testing";
import { BackupCounts } from "./backup-check.ts";
import { readBackup, verifyBackup, writeBackup } from "./backup-file.ts";

const signal = new AbortController().signal;
const header = (format = "stillpoint.backup.v1") =>
  BackupItem.fromPartial({ item: { $case: "header", value: { format, stillpointVersion: "0.1.0" } } });

function items(count = 500): BackupItem[] {
  const counts = new BackupCounts();
  const messages = Array.from({ length: count }, (_, n) => {
    const value = { stream: "REC", sequence: 1_795_415_717_788_000 + n, subject: `rec.a.${n}`, data: Buffer.alloc(n) };
    counts.add({ ...value, time: undefined });
    return BackupItem.fromPartial({ item: { $case: "message", value } });
  });
  const trailer = BackupItem.fromPartial({ item: { $case: "trailer", value: { counts: counts.counts() } } });
  return [header(), ...messages, trailer];
}

async function* stream(all: readonly BackupItem[]) {
  yield* all;
}

test("what was written is read, and nothing overwrites it", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "backup");
  await writeBackup(path, stream(items()), { signal });
  const { header, counts } = await verifyBackup(path);
  expect(header.stillpointVersion).toBe("0.1.0");
  expect(counts).toMatchObject([{ stream: "REC", messages: 500, lastSequence: 1_795_415_717_788_499 }]);
  const read: BackupItem[] = [];
  for await (const item of readBackup(path)) read.push(item);
  expect(read.map((item) => BackupItem.toJSON(item))).toEqual(items().map((item) => BackupItem.toJSON(item)));
  await expect(writeBackup(path, stream(items()), { signal })).rejects.toMatchObject({ reason: "BACKUP_EXISTS" });
});

test.each([
  ["that ends too soon", (all: BackupItem[]) => all.slice(0, -1)],
  ["of another form", (all: BackupItem[]) => [header("other"), ...all.slice(1)]],
  ["without a header", (all: BackupItem[]) => all.slice(1)],
  ["without one of its messages", (all: BackupItem[]) => all.filter((_, n) => n !== 7)],
  ["out of order", (all: BackupItem[]) => all.toSpliced(5, 2, ...all.slice(5, 7).reverse())],
  ["with something behind its end", (all: BackupItem[]) => [...all, ...all.slice(-1)]],
])("a backup %s never gets its name", async (_what, change) => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "backup");
  await expect(writeBackup(path, stream(change(items())), { signal })).rejects.toMatchObject({
    reason: "BACKUP_DAMAGED",
  });
  for (const left of [path, `${path}.partial`]) await expect(stat(left)).rejects.toThrow("ENOENT");
});

test.each([
  ["cut off", (bytes: Buffer) => bytes.subarray(0, bytes.length - 10)],
  ["with a byte changed", (bytes: Buffer) => Buffer.from(bytes.map((byte, n) => (n === 900 ? byte ^ 1 : byte)))],
  ["of something else", () => Buffer.from("not a backup at all")],
  ["that is empty", () => Buffer.alloc(0)],
])("a file %s is refused", async (_what, change) => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "backup");
  await writeBackup(path, stream(items()), { signal });
  await writeFile(path, change(await readFile(path)));
  await expect(verifyBackup(path)).rejects.toMatchObject({ reason: "BACKUP_DAMAGED" });
});

const readAll = async (path: string): Promise<unknown[]> => {
  const read: unknown[] = [];
  for await (const item of readBackup(path)) read.push(BackupItem.toJSON(item));
  return read;
};

test("of a file with a changed bit nothing else is read than was written", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "backup");
  const written = items(3);
  await writeBackup(path, stream(written), { signal });
  const whole = await readFile(path);
  for (const at of whole.keys()) {
    const altered = Buffer.from(whole);
    altered.writeUInt8(altered.readUInt8(at) ^ (1 << (at % 8)), at);
    await writeFile(path, altered);
    const read = await readAll(path).catch((error: unknown) => {
      if (!isStillpointError(error, "BACKUP_DAMAGED")) throw error;
    });
    // zstd has bits that say nothing.
    if (read !== undefined) expect(read).toEqual(written.map((item) => BackupItem.toJSON(item)));
  }
});

test("a file that is not there is said to be so", async () => {
  await expect(verifyBackup("/nowhere/backup")).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
});
