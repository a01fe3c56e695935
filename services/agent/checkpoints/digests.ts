import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import { writeDurably } from "../durable-file.ts";
import type { CheckpointEntry } from "../manifest.ts";
import type { Workload } from "../workload.ts";
import type { Piece } from "./background-work.ts";
import { chainOf, checkpointOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";

/** A file's digest, and what the file looked like then: an unchanged look means unchanged bytes. */
interface KnownDigest {
  readonly digest: string;
  readonly look: string;
}

const PIECE_BYTES = 4 * 2 ** 20;

/** Computes the digests of a checkpoint's own files when nothing else is to be done, and tells them. */
export function queueDigests({ background }: AgentParts, workload: Workload, checkpointUid: string): void {
  background.add(workload.uid, `the digests of ${checkpointUid}`, () => {
    const entry = workload.manifest.checkpoints[checkpointUid];
    if (entry === undefined) return async () => true;
    return digestFiles(workload, checkpointUid, ownFiles(workload, checkpointUid, entry));
  });
}

/**
 * Looks at every file that a checkpoint stands on: metadata always, bytes where the file's look has changed.
 * @throws StillpointError CHECKPOINT_DAMAGED
 */
export async function refuseDamaged(parts: AgentParts, workload: Workload, checkpointUid: string): Promise<void> {
  const { manifest, folder } = workload;
  for (const [disk, top] of Object.entries(checkpointOf(manifest, checkpointUid).layers)) {
    for (const layer of chainOf(manifest, top)) await parts.disks.check(folder.layer(disk, layer));
  }
  for (let uid: string | null = checkpointUid; uid !== null; uid = checkpointOf(manifest, uid).parent) {
    const files = ownFiles(workload, uid, checkpointOf(manifest, uid));
    const known = await readKnown(workload, uid);
    for (const [name, path] of files) {
      // RAM of earlier checkpoints plays no part in this one.
      if (name !== "ram" || uid === checkpointUid) await refuseChanged(uid, path, known[name]);
    }
  }
}

async function refuseChanged(checkpointUid: string, path: string, known: KnownDigest | undefined): Promise<void> {
  if (known === undefined || known.look === (await lookOf(path))) return;
  if ((await digestOfFile(path)) === known.digest) return;
  throw new StillpointError(
    "CHECKPOINT_DAMAGED",
    `${path} of checkpoint ${checkpointUid} has changed since it was taken`,
  );
}

/** A checkpoint's own files by disk id, and "ram". */
function ownFiles({ folder }: Workload, checkpointUid: string, { kind, layers }: CheckpointEntry): [string, string][] {
  const disks = Object.entries(layers).map(([disk, layer]): [string, string] => [disk, folder.layer(disk, layer)]);
  return kind === "standard" ? [...disks, ["ram", join(folder.checkpoint(checkpointUid), RAM_FILE)]] : disks;
}

/** One piece of one file at a time. */
function digestFiles(workload: Workload, checkpointUid: string, files: [string, string][]): Piece {
  const known: Record<string, KnownDigest> = {};
  let current: FileDigest | undefined;
  return async () => {
    const [name, path] = files[0] ?? [];
    if (name === undefined || path === undefined) return await tell(workload, checkpointUid, known);
    current ??= await FileDigest.open(path);
    const digest = await current.next();
    if (digest === undefined) return false;
    known[name] = { digest, look: await lookOf(path) };
    current = undefined;
    files.shift();
    return false;
  };
}

async function tell(workload: Workload, checkpointUid: string, known: Record<string, KnownDigest>): Promise<true> {
  if (workload.manifest.checkpoints[checkpointUid] === undefined) return true;
  await writeDurably(digestsPath(workload, checkpointUid), JSON.stringify(known, null, 1));
  const digests = Object.fromEntries(Object.entries(known).map(([name, { digest }]) => [name, digest]));
  workload.observe({ digests: { checkpointUid, digests } });
  return true;
}

class FileDigest {
  readonly #file: FileHandle;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(path: string): Promise<FileDigest> {
    return new FileDigest(await open(path, "r"));
  }

  /** The digest once the file's end is reached. */
  async next(): Promise<string | undefined> {
    const { bytesRead } = await this.#file.read(this.#buffer, 0, PIECE_BYTES, null);
    if (bytesRead > 0) this.#hash.update(this.#buffer.subarray(0, bytesRead));
    if (bytesRead > 0) return undefined;
    await this.#file.close();
    return `sha256:${this.#hash.digest("hex")}`;
  }
}

async function digestOfFile(path: string): Promise<string> {
  const file = await FileDigest.open(path);
  for (;;) {
    const digest = await file.next();
    if (digest !== undefined) return digest;
  }
}

async function readKnown(workload: Workload, checkpointUid: string): Promise<Record<string, KnownDigest>> {
  const text = await readFile(digestsPath(workload, checkpointUid), "utf8").catch(() => "{}");
  return JSON.parse(text) as Record<string, KnownDigest>;
}

function digestsPath({ folder }: Workload, checkpointUid: string): string {
  return join(folder.checkpoint(checkpointUid), "digests.json");
}

async function lookOf(path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path);
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}
