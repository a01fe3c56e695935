import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { Piece } from "../../checkpoints/background-work.ts";
import type { KnownDigest } from "../../checkpoints/file-digest.ts";
import { writeDurably } from "../../durable-file.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { digestOfFiles } from "./archive.ts";
import { runConfined } from "./confined.ts";
import { failed, isThere } from "./files.ts";
import { checkpointOf, treeOf } from "./tree.ts";
import { checkpointFolder, volumeCopy } from "./volumes.ts";

/** Computes the digests of a checkpoint's volumes when nothing else is to be done, and tells them. */
export function queueDigests(parts: ContainerParts, container: Container, checkpointUid: string): void {
  parts.background.add(container.uid, `the digests of ${checkpointUid}`, () => digestVolumes(container, checkpointUid));
}

/** Queues the digests that an earlier agent did not finish. */
export async function queueMissingDigests(parts: ContainerParts, container: Container): Promise<void> {
  for (const [uid, { volumes }] of Object.entries(treeOf(container).checkpoints)) {
    const known = await Promise.all(volumes.map((id) => readKnown(container, uid, id)));
    if (known.includes(undefined)) queueDigests(parts, container, uid);
  }
}

/**
 * Looks at every copy of a volume in a checkpoint, and reads those that look other than when their digest was computed.
 * @throws StillpointError CHECKPOINT_DAMAGED, which names the volume
 */
export async function refuseDamaged(container: Container, checkpointUid: string, signal: AbortSignal): Promise<void> {
  for (const id of checkpointOf(container, checkpointUid).volumes) {
    const copy = volumeCopy(checkpointFolder(container, checkpointUid), id);
    if (!(await isThere(copy))) throw damaged(container, checkpointUid, `volume ${id} is not there`);
    const known = await readKnown(container, checkpointUid, id);
    if (known === undefined) continue;
    const look = await lookOf(copy, signal);
    if (look === known.look) continue;
    if ((await digestOfFiles(copy, signal)) !== known.digest) {
      throw damaged(container, checkpointUid, `files of volume ${id} have changed since it was taken`);
    }
    await remember(container, checkpointUid, id, { ...known, look });
  }
}

/** One volume at a time, until all are known or the checkpoint is gone. */
function digestVolumes(container: Container, checkpointUid: string): Piece {
  const digests: Record<string, string> = {};
  return async (signal) => {
    const checkpoint = treeOf(container).checkpoints[checkpointUid];
    if (checkpoint === undefined) return true;
    const id = checkpoint.volumes.find((volume) => !(volume in digests));
    if (id === undefined) {
      if (checkpoint.volumes.length > 0) container.observe({ digests: { checkpointUid, digests } });
      return true;
    }
    const known =
      (await readKnown(container, checkpointUid, id)) ?? (await compute(container, checkpointUid, id, signal));
    if (known !== undefined) digests[id] = known.digest;
    return false;
  };
}

/** Undefined when the files were touched meanwhile, as by links that a newer checkpoint or a clone makes. */
async function compute(container: Container, checkpointUid: string, id: string, signal: AbortSignal) {
  const copy = volumeCopy(checkpointFolder(container, checkpointUid), id);
  const look = await lookOf(copy, signal);
  const known: KnownDigest = { digest: await digestOfFiles(copy, signal, false), look };
  if ((await lookOf(copy, signal)) !== look) return undefined;
  await remember(container, checkpointUid, id, known);
  return known;
}

/** What all its files look like from outside: an unchanged look means unchanged bytes. */
async function lookOf(folder: string, signal: AbortSignal): Promise<string> {
  const facts = "%P\\0%i %s %T@ %C@ %m %U %G %y %l\\0\\0";
  const { code, stdout, stderr } = await runConfined("find", ["/from", "-printf", facts], {
    ...{ sight: { from: folder }, signal },
  });
  if (code !== 0) throw failed(`looking at ${folder}`, stderr);
  return createHash("sha256").update(stdout.split("\0\0").toSorted().join("\n"), "latin1").digest("hex");
}

function folderOf(container: Container, checkpointUid: string): string {
  return join(checkpointFolder(container, checkpointUid), "digests");
}

async function remember(container: Container, checkpointUid: string, id: string, known: KnownDigest): Promise<void> {
  const folder = folderOf(container, checkpointUid);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeDurably(join(folder, `${id}.json`), JSON.stringify(known));
}

async function readKnown(container: Container, checkpointUid: string, id: string): Promise<KnownDigest | undefined> {
  const path = join(folderOf(container, checkpointUid), `${id}.json`);
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as KnownDigest);
}

function damaged({ name }: Container, checkpointUid: string, what: string): StillpointError {
  return new StillpointError("CHECKPOINT_DAMAGED", `checkpoint ${checkpointUid} of ${name}: ${what}`, {
    help: "Pull it again if it was pushed, or use another checkpoint.",
  });
}
