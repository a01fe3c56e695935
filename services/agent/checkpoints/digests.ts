import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import { writeDurably } from "../durable-file.ts";
import type { Workload } from "../workload.ts";
import type { Piece } from "./background-work.ts";
import { digestOfFile, FileDigest, type KnownDigest, lookOf } from "./file-digest.ts";
import { checkpointOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";

const RAM = "ram";
const DIGESTS_FILE = "digests.json";

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

/** To be called before a checkpoint's own files are changed. */
export async function forgetDigests(workload: Workload, checkpointUid: string): Promise<void> {
  await rm(digestsPath(workload, checkpointUid), { force: true });
}

/**
 * Looks at every file that a checkpoint stands on; metadata and bytes where its look has changed since its digest.
 * @throws StillpointError CHECKPOINT_DAMAGED
 */
export async function refuseDamaged(parts: AgentParts, workload: Workload, checkpointUid: string): Promise<void> {
  for (let uid: string | null = checkpointUid; uid !== null; uid = checkpointOf(workload.manifest, uid).parent) {
    const known = await readKnown(workload, uid);
    // RAM of earlier checkpoints plays no part in this one.
    const files = ownFiles(workload, uid).filter(({ name }) => name !== RAM || uid === checkpointUid);
    for (const file of files) await refuseChanged(parts, uid, file, known[file.name]);
  }
}

/**
 * To be called after `refuseDamaged` when hard links to a checkpoint's files were made or removed: that changes how
 * they look and nothing else, so that the digests that are known of them stay known.
 */
export async function renewLooks(workload: Workload, checkpointUid: string): Promise<void> {
  for (let uid: string | null = checkpointUid; uid !== null; uid = checkpointOf(workload.manifest, uid).parent) {
    const known = await readKnown(workload, uid);
    for (const { name, path } of ownFiles(workload, uid)) {
      const before = known[name];
      if (before !== undefined) known[name] = { ...before, look: await lookOf(path) };
    }
    if (Object.keys(known).length > 0) await writeDurably(digestsPath(workload, uid), JSON.stringify(known, null, 1));
  }
}

/** Takes what is known of a checkpoint's files to another folder, whose files are links to them. */
export async function copyDigests(workload: Workload, checkpointUid: string, folder: string): Promise<void> {
  const known = await readKnown(workload, checkpointUid);
  if (Object.keys(known).length > 0) await writeDurably(join(folder, DIGESTS_FILE), JSON.stringify(known, null, 1));
}

/** Whether a checkpoint's digests are known. */
export async function hasDigests(workload: Workload, checkpointUid: string): Promise<boolean> {
  return Object.keys(await readKnown(workload, checkpointUid)).length > 0;
}

async function refuseChanged({ disks }: AgentParts, uid: string, { name, path }: OwnFile, known?: KnownDigest) {
  if (known?.look === (await lookOf(path))) return;
  if (name !== RAM) await disks.check(path);
  if (known === undefined || (await digestOfFile(path)) === known.digest) return;
  throw new StillpointError("CHECKPOINT_DAMAGED", `${path} of checkpoint ${uid} has changed since it was taken`);
}

function ownFiles({ folder, manifest }: Workload, checkpointUid: string): OwnFile[] {
  const { kind, layers } = checkpointOf(manifest, checkpointUid);
  const disks = Object.entries(layers).map(([disk, layer]) => ({ name: disk, path: folder.layer(disk, layer) }));
  const ram = { name: RAM, path: join(folder.checkpoint(checkpointUid), RAM_FILE) };
  return kind === "standard" ? [...disks, ram] : disks;
}

/** A piece of one file at a time, until the checkpoint is done or gone. */
function digestOwnFiles({ disks }: AgentParts, workload: Workload, checkpointUid: string): Piece {
  const waiting = ownFiles(workload, checkpointUid).map((file) => ({ ...file, work: new FileDigest(file.path) }));
  const known: Record<string, KnownDigest> = {};
  return async () => {
    const [next] = waiting;
    if (workload.manifest.checkpoints[checkpointUid] === undefined) return true;
    if (next === undefined) return await tell(workload, checkpointUid, known);
    const digest = await next.work.next();
    if (digest === undefined) return false;
    if (next.name !== RAM) await disks.check(next.path);
    known[next.name] = digest;
    waiting.shift();
    return false;
  };
}

async function tell(workload: Workload, checkpointUid: string, known: Record<string, KnownDigest>): Promise<true> {
  await writeDurably(digestsPath(workload, checkpointUid), JSON.stringify(known, null, 1));
  const digests = Object.fromEntries(Object.entries(known).map(([name, { digest }]) => [name, digest]));
  workload.observe({ digests: { checkpointUid, digests } });
  return true;
}

async function readKnown(workload: Workload, checkpointUid: string): Promise<Record<string, KnownDigest>> {
  const text = await readFile(digestsPath(workload, checkpointUid), "utf8").catch(() => "{}");
  return JSON.parse(text) as Record<string, KnownDigest>;
}

function digestsPath({ folder }: Workload, checkpointUid: string): string {
  return join(folder.checkpoint(checkpointUid), DIGESTS_FILE);
}
