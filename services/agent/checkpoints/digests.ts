import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import { writeDurably } from "../durable-file.ts";
import type { Workload } from "../workload.ts";
import type { Piece } from "./background-work.ts";
import { digestOfFile, digestPath, FileDigest, type KnownDigest, lookOf } from "./file-digest.ts";
import { chainOf, checkpointOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";

const RAM = "ram";

/** One of a checkpoint's own files. */
interface OwnFile {
  /** Disk id, or "ram". */
  readonly name: string;
  readonly path: string;
}

/** Checks a checkpoint's own files and computes their digests when nothing else is to be done, and tells them. */
export function queueDigests(parts: AgentParts, workload: Workload, checkpointUid: string): void {
  parts.background.add(workload.uid, `the digests of ${checkpointUid}`, () => {
    const isThere = workload.manifest.checkpoints[checkpointUid] !== undefined;
    return isThere ? digestOwnFiles(parts, workload, checkpointUid) : async () => true;
  });
}

/** Queues the digests that an earlier agent did not finish. */
export async function queueMissingDigests(parts: AgentParts, workload: Workload): Promise<void> {
  for (const checkpointUid of Object.keys(workload.manifest.checkpoints)) {
    if (!(await hasDigests(workload, checkpointUid))) queueDigests(parts, workload, checkpointUid);
  }
}

/** To be called before a file is changed. */
export async function forgetDigest(path: string): Promise<void> {
  await rm(digestPath(path), { force: true });
}

/**
 * Looks at every file that a checkpoint stands on; metadata and bytes where its look has changed since its digest.
 * @throws StillpointError CHECKPOINT_DAMAGED
 */
export async function refuseDamaged(parts: AgentParts, workload: Workload, checkpointUid: string): Promise<void> {
  for (const file of filesBelow(workload, checkpointUid)) await refuseChanged(parts, checkpointUid, file);
}

/**
 * To be called after `refuseDamaged` when hard links to a checkpoint's files were made or removed: that changes how
 * they look and nothing else, so that the digests that are known of them stay known.
 */
export async function renewLooks(workload: Workload, checkpointUid: string): Promise<void> {
  for (const { path } of filesBelow(workload, checkpointUid)) await copyDigest(path, path);
}

/** Takes what is known of a file to a link or a true copy of it. */
export async function copyDigest(from: string, to: string): Promise<void> {
  const known = await readKnown(from);
  if (known !== undefined) await remember(to, { ...known, look: await lookOf(to) });
}

/** Whether the digests of a checkpoint's own files are known. */
export async function hasDigests(workload: Workload, checkpointUid: string): Promise<boolean> {
  const known = await Promise.all(ownFiles(workload, checkpointUid).map(({ path }) => readKnown(path)));
  return !known.includes(undefined);
}

/** Its own files, and the layers of others that they stand on. RAM of earlier checkpoints plays no part in this one. */
function filesBelow(workload: Workload, checkpointUid: string): OwnFile[] {
  const { manifest, folder } = workload;
  return ownFiles(workload, checkpointUid).flatMap((file) => {
    const top = checkpointOf(manifest, checkpointUid).layers[file.name];
    if (top === undefined) return [file];
    return chainOf(manifest, top).map((layer) => ({ name: file.name, path: folder.layer(file.name, layer) }));
  });
}

async function refuseChanged({ disks }: AgentParts, uid: string, { name, path }: OwnFile): Promise<void> {
  const known = await readKnown(path);
  const look = await lookOf(path);
  if (known?.look === look) return;
  if (name !== RAM) await disks.check(path);
  if (known === undefined) return;
  if ((await digestOfFile(path)) !== known.digest) {
    throw new StillpointError("CHECKPOINT_DAMAGED", `${path} of checkpoint ${uid} has changed since it was taken`);
  }
  await remember(path, { ...known, look });
}

function ownFiles({ folder, manifest }: Workload, checkpointUid: string): OwnFile[] {
  const { kind, layers } = checkpointOf(manifest, checkpointUid);
  const disks = Object.entries(layers).map(([disk, layer]) => ({ name: disk, path: folder.layer(disk, layer) }));
  const ram = { name: RAM, path: join(folder.checkpoint(checkpointUid), RAM_FILE) };
  return kind === "standard" ? [...disks, ram] : disks;
}

/** A piece of one file at a time, until the checkpoint is done or gone. */
function digestOwnFiles({ disks }: AgentParts, workload: Workload, checkpointUid: string): Piece {
  const known: Record<string, KnownDigest> = {};
  let work: FileDigest | undefined;
  return async (signal) => {
    if (workload.manifest.checkpoints[checkpointUid] === undefined) return true;
    // Asked anew each time: a merge between two pieces may have put another file in its place.
    const next = ownFiles(workload, checkpointUid).find(({ name }) => !(name in known));
    if (next === undefined) return tell(workload, checkpointUid, known);
    if (work?.path !== next.path) work = new FileDigest(next.path);
    const digest = await work.next();
    if (digest === undefined) return false;
    work = undefined;
    if (await check(disks, next, digest, signal)) known[next.name] = digest;
    return false;
  };
}

/** Gives true when the file is sound, and is still what the digest is of; then it is remembered. */
async function check(
  disks: AgentParts["disks"],
  { name, path }: OwnFile,
  digest: KnownDigest,
  signal: AbortSignal,
): Promise<boolean> {
  if (name !== RAM) await disks.check(path, signal);
  if (digest.look !== (await lookOf(path))) return false;
  await remember(path, digest);
  return true;
}

function tell(workload: Workload, checkpointUid: string, known: Record<string, KnownDigest>): true {
  const digests = Object.fromEntries(Object.entries(known).map(([name, { digest }]) => [name, digest]));
  workload.observe({ digests: { checkpointUid, digests } });
  return true;
}

async function remember(path: string, known: KnownDigest): Promise<void> {
  await writeDurably(digestPath(path), JSON.stringify(known));
}

async function readKnown(path: string): Promise<KnownDigest | undefined> {
  const text = await readFile(digestPath(path), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as KnownDigest);
}
