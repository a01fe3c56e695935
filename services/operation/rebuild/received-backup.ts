import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupItem, BackupMessage } from "#contracts/operation/v1/admin";
import { readBackup, writeBackup } from "#libs/backup";
import { StillpointError } from "#libs/errors";
import { knownRecord } from "./kept.ts";
import type { KnownRecord, Records } from "./known.ts";

/**
 * A backup that has come whole. It waits on the disk of this process, as it has more operations than fit into memory:
 * here are only the newest states of records, which the decision needs side by side.
 */
export interface ReceivedBackup extends AsyncDisposable {
  readonly records: Records;
  readonly time: Date | undefined;
  /** How many operations it has. */
  readonly operationCount: number;
  /** The newest state of each operation, read anew from the disk. */
  operations(): AsyncIterable<Uint8Array>;
}

/** Takes a backup in. @throws StillpointError BACKUP_DAMAGED, SPACE_INSUFFICIENT; then nothing of it is left */
export async function receiveBackup(
  items: AsyncIterable<BackupItem>,
  { signal, place = tmpdir() }: { readonly signal: AbortSignal; readonly place?: string },
): Promise<ReceivedBackup> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(place, "stillpoint-restore-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "backup");
  const records = new Map<string, KnownRecord>();
  const newest = new Map<string, number>();
  const onItem = (item: BackupItem) => {
    const message = messageOf(item);
    if (message?.stream === "OPS") newest.set(message.subject, message.sequence);
    if (message?.stream !== "REC") return;
    const record = knownRecord(message);
    records.set(record.name, record);
  };
  const { header } = await writeBackup(path, items, { signal, onItem }).catch(noRoom);
  const owned = stack.move();
  return {
    ...{ records, time: header.time, operationCount: newest.size },
    operations: () => newestOperations(path, newest),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function noRoom(cause: NodeJS.ErrnoException): never {
  if (cause.code !== "ENOSPC") throw cause;
  throw new StillpointError("SPACE_INSUFFICIENT", `there is no room for the backup in ${tmpdir()}`, {
    cause,
    help: "Give the operation service as much room for temporary files (TMPDIR) as the backup takes.",
  });
}

/** One that was written while the backup was taken may be in it twice. */
async function* newestOperations(path: string, newest: ReadonlyMap<string, number>): AsyncGenerator<Uint8Array> {
  for await (const item of readBackup(path)) {
    const message = messageOf(item);
    if (message?.stream === "OPS" && message.sequence === newest.get(message.subject)) yield message.data;
  }
}

const messageOf = ({ item }: BackupItem): BackupMessage | undefined =>
  item?.$case === "message" ? item.value : undefined;
