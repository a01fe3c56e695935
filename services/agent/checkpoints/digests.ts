import { createHash } from "node:crypto";
import { open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import { writeDurably } from "../durable-file.ts";
import type { CheckpointEntry } from "../manifest.ts";
import type { Workload } from "../workload.ts";
import type { Piece } from "./background-work.ts";
import { checkpointOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";

/** The digest of a file that was found whole, and what it looked like then: an unchanged look, unchanged bytes. */
interface KnownDigest {
  readonly digest: string;
  readonly look: string;
}

const PIECE_BYTES = 4 * 2 ** 20;

/** Computes the digests of a checkpoint's own files when nothing else is to be done, and tells them. */
export function queueDigests(parts: AgentParts, workload: Workload, checkpointUid: string): void {
  parts.background.add(workload.uid, `the digests of ${checkpointUid}`, () => {
    const entry = workload.manifest.checkpoints[checkpointUid];
    if (entry === undefined) return async () => true;
    return digestFiles(parts, workload, checkpointUid, ownFiles(workload, checkpointUid, entry));
  });
}

/** Queues the digests that an earlier agent did not finish. */
export async function queueMissingDigests(parts: AgentParts, workload: Workload): Promise<void> {
  for (const checkpointUid of Object.keys(workload.manifest.checkpoints)) {
    const known = await readKnown(workload, checkpointUid);
    if (Object.keys(known).length === 0) queueDigests(parts, workload, checkpointUid);
  }
}

/** To be called before a checkpoint's own files are changed. */
export async function forgetDigests(workload: Workload, checkpointUid: string): Promise<void> {
  await rm(digestsPath(workload, checkpointUid), { force: true });
}

/**
 * Looks at every file that a checkpoint stands on; metadata and bytes where its look has changed since its digest.
 * @throws StillpointError CHECKPOINT_DAMAGED
 */
export async function refuseDamaged(parts: AgentParts, workload: Workload, checkpointUid: string): Promise<void> {
  const { manifest } = workload;
  for (let uid: string | null = checkpointUid; uid !== null; uid = checkpointOf(manifest, uid).parent) {
    const files = ownFiles(workload, uid, checkpointOf(manifest, uid));
    const known = await readKnown(workload, uid);
    for (const [name, path] of files) {
      // RAM of earlier checkpoints plays no part in this one.
      if (name === "ram" && uid !== checkpointUid) continue;
      if (known[name]?.look === (await lookOf(path))) continue;
      if (name !== "ram") await parts.disks.check(path);
      await refuseChanged(uid, path, known[name]);
    }
  }
}

async function refuseChanged(checkpointUid: string, path: string, known: KnownDigest | undefined): Promise<void> {
  if (known === undefined || (await digestOfFile(path)) === known.digest) return;
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
function digestFiles(
  { disks }: AgentParts,
  workload: Workload,
  checkpointUid: string,
  files: [string, string][],
): Piece {
  const known: Record<string, KnownDigest> = {};
  let current: FileDigest | undefined;
  return async () => {
    const [name, path] = files[0] ?? [];
    if (name === undefined || path === undefined) return await tell(workload, checkpointUid, known);
    if (current === undefined && name !== "ram") await disks.check(path);
    current ??= new FileDigest(path);
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
  readonly #path: string;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  #position = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** The digest once the file's end is reached. Opened for each piece: work that is dropped leaves nothing open. */
  async next(): Promise<string | undefined> {
    await using file = await open(this.#path, "r");
    const { bytesRead } = await file.read(this.#buffer, 0, PIECE_BYTES, this.#position);
    if (bytesRead === 0) return `sha256:${this.#hash.digest("hex")}`;
    this.#hash.update(this.#buffer.subarray(0, bytesRead));
    this.#position += bytesRead;
    return undefined;
  }
}

async function digestOfFile(path: string): Promise<string> {
  const file = new FileDigest(path);
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
  const { ino, size, mtimeMs, ctimeMs } = await stat(path).catch((cause: unknown) => {
    throw new StillpointError("CHECKPOINT_DAMAGED", `${path} is not there`, { cause });
  });
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}
