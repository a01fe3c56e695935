import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createZstdCompress, createZstdDecompress } from "node:zlib";
import { type BackupCount, type BackupHeader, BackupItem } from "#contracts/operation/v1/admin";
import { StillpointError } from "#libs/errors";
import { BackupCheck, damaged } from "./backup-check.ts";

/** A backup that is whole. */
export interface VerifiedBackup {
  readonly header: BackupHeader;
  readonly counts: readonly BackupCount[];
}

/** Longer than any message that NATS takes by default (1 MiB). */
const LONGEST_ITEM = 16 * 2 ** 20;

/**
 * Writes a backup: each item with its length before it (4 bytes), then four zeros and the SHA-256 of all before them, zstd
 * over all. It has its name only once it is whole, checked and on the disk.
 * @throws StillpointError BACKUP_DAMAGED when the items end too soon, BACKUP_EXISTS
 */
export async function writeBackup(
  path: string,
  items: AsyncIterable<BackupItem>,
  options: { readonly signal: AbortSignal; readonly onItem?: (item: BackupItem) => void },
): Promise<VerifiedBackup> {
  await refuseExisting(path);
  const unfinished = `${path}.partial`;
  const check = new BackupCheck();
  const hash = createHash("sha256");
  async function* encoded() {
    for await (const item of items) {
      check.add(item);
      options.onItem?.(item);
      const frame = framed(BackupItem.encode(item).finish());
      hash.update(frame);
      yield frame;
    }
    check.whole();
    yield Buffer.concat([endMark, hash.digest()]);
  }
  const file = createWriteStream(unfinished, { mode: 0o600, flush: true });
  try {
    await pipeline(Readable.from(encoded()), createZstdCompress(), file, { signal: options.signal });
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  await rename(unfinished, path);
  await syncFolder(dirname(path));
  return check.whole();
}

/** The items of a backup, in order. @throws StillpointError BACKUP_DAMAGED for what is not one, at its end at the latest */
export async function* readBackup(path: string): AsyncGenerator<BackupItem> {
  const check = new BackupCheck();
  for await (const bytes of frames(path)) {
    const item = decode(bytes);
    check.add(item);
    yield item;
  }
  check.whole();
}

/** Reads it to its end. @throws StillpointError BACKUP_DAMAGED */
export async function verifyBackup(path: string): Promise<VerifiedBackup> {
  const check = new BackupCheck();
  for await (const bytes of frames(path)) check.add(decode(bytes));
  return check.whole();
}

function framed(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** No item is empty. */
const endMark = Buffer.alloc(4);

/** Those of files of earlier versions end without their digest. */
async function* frames(path: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of decompressed(path)) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let frame = firstFrame(rest); frame !== undefined && frame.length > 0; frame = firstFrame(rest)) {
      yield frame;
      hash.update(rest.subarray(0, 4 + frame.length));
      rest = rest.subarray(4 + frame.length);
    }
  }
  if (endMark.equals(rest.subarray(0, endMark.length))) {
    if (hash.digest().equals(rest.subarray(endMark.length))) return;
    throw damaged("it is not what was written");
  }
  if (rest.length > 0) throw damaged("it ends in the middle of a message");
}

/** Undefined when not all of it is there yet. */
function firstFrame(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length < 4) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (length > LONGEST_ITEM) throw damaged("it is not of this form");
  return bytes.length < 4 + length ? undefined : bytes.subarray(4, 4 + length);
}

async function* decompressed(path: string): AsyncGenerator<Uint8Array> {
  const plain = createZstdDecompress();
  const piped = pipeline(createReadStream(path), plain);
  piped.catch((error: Error) => plain.destroy(error));
  try {
    for await (const chunk of plain) yield chunk as Uint8Array;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== undefined) throw unreadable(path, error);
    throw damaged("it cannot be decompressed", error);
  } finally {
    plain.destroy();
    await piped.catch(() => undefined);
  }
}

function decode(bytes: Uint8Array): BackupItem {
  try {
    return BackupItem.decode(bytes);
  } catch (error) {
    throw damaged("it holds something that is not a message", error);
  }
}

function unreadable(path: string, cause: unknown): StillpointError {
  const [, why = String(cause)] = /^(?:Error: )?[A-Z]+: ([^,]+)/.exec(String(cause)) ?? [];
  return new StillpointError("ARGUMENT_INVALID", `${path} cannot be read: ${why}`, { cause });
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined) throw new StillpointError("BACKUP_EXISTS", `${path} exists already`);
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
