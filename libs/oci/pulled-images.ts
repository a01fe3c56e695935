import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import { type Digest, parseDigest } from "./digest.ts";
import type { VmImage } from "./vm-image.ts";

/** A VM image in a folder of pulled images. */
export interface PulledVmImage {
  readonly digest: Digest;
  /** Path of the raw disk; to be read only. */
  readonly disk: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly virtualSizeBytes: number;
}

/** What `readPulled` needs; written last. */
interface Description {
  readonly virtualSizeBytes: number;
  readonly hasKernel: boolean;
  readonly hasInitrd: boolean;
  readonly cmdline?: string;
}

/** A pulled image, or what an unfinished pull of one has brought. */
export interface CachedImage {
  readonly digest: Digest;
  /** What it takes on the host. */
  readonly bytes: number;
  readonly lastUsedMs: number;
}

const UNFINISHED = ".part";
const REMOVED = ".removed-";

/** Where a pull keeps what it has brought until it is whole. */
export function unfinishedFolderOf(into: string, digest: Digest): string {
  return `${folderOf(into, digest)}${UNFINISHED}`;
}

/** The image of that digest, if it is there as a whole. @throws StillpointError IMAGE_CORRUPT when it was changed */
export async function readPulled(into: string, digest: Digest): Promise<PulledVmImage | undefined> {
  const folder = folderOf(into, digest);
  const text = await readFile(join(folder, "image.json"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { virtualSizeBytes, hasKernel, hasInitrd, cmdline }: Description = JSON.parse(text);
  const { size } = await stat(join(folder, "disk.raw"));
  if (size !== virtualSizeBytes) throw new StillpointError("IMAGE_CORRUPT", `${folder}/disk.raw has changed its size`);
  return {
    digest,
    disk: join(folder, "disk.raw"),
    ...(hasKernel && { kernel: join(folder, "kernel") }),
    ...(hasInitrd && { initrd: join(folder, "initrd") }),
    ...(cmdline !== undefined && { cmdline }),
    virtualSizeBytes,
  };
}

/** Turns an unfinished folder whose files are all there and durable into a pulled image. */
export async function publishPulled(into: string, digest: Digest, image: VmImage): Promise<void> {
  const unfinished = unfinishedFolderOf(into, digest);
  const { virtualSizeBytes, kernel, initrd, cmdline } = image;
  const boot = { hasKernel: kernel !== undefined, hasInitrd: initrd !== undefined };
  const description: Description = { virtualSizeBytes, ...boot, ...(cmdline !== undefined && { cmdline }) };
  await writeFile(join(unfinished, "image.json"), JSON.stringify(description), { mode: 0o600, flush: true });
  await sync(unfinished);
  await rename(unfinished, folderOf(into, digest));
  await sync(into);
}

/** All images and unfinished pulls of a folder. */
export async function listPulled(into: string): Promise<CachedImage[]> {
  const names = await readdir(into).catch(() => []);
  const found = await Promise.all(
    names.map(async (name) => {
      const digest = digestOfName(name.endsWith(UNFINISHED) ? name.slice(0, -UNFINISHED.length) : name);
      return digest === undefined ? [] : [{ digest, ...(await measure(join(into, name))) }];
    }),
  );
  return found.flat();
}

/** Notes that an image is used now, for `lastUsedMs`; one that is not there is passed over. */
export async function touchPulled(into: string, digest: Digest, now: Date): Promise<void> {
  await utimes(folderOf(into, digest), now, now).catch(() => undefined);
}

/** Removes an image and what an unfinished pull of it has brought; each is gone as a whole before its files are. */
export async function removePulled(into: string, digest: Digest): Promise<void> {
  for (const folder of [folderOf(into, digest), unfinishedFolderOf(into, digest)]) {
    const away = join(into, `${REMOVED}${randomUUID()}`);
    const isThere = await rename(folder, away).then(
      () => true,
      () => false,
    );
    if (isThere) await rm(away, { recursive: true, force: true });
  }
}

/** Ends removals that a killed process began. What its pulls have brought stays: the next pull goes on from there. */
export async function clearRemovedPulls(into: string): Promise<void> {
  await mkdir(into, { recursive: true, mode: 0o700 });
  const left = (await readdir(into)).filter((name) => name.startsWith(REMOVED));
  await Promise.all(left.map((name) => rm(join(into, name), { recursive: true, force: true })));
}

async function measure(folder: string): Promise<{ bytes: number; lastUsedMs: number }> {
  try {
    const { mtimeMs: lastUsedMs } = await stat(folder);
    const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).blocks * 512);
    return { bytes: (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0), lastUsedMs };
  } catch {
    // It was renamed meanwhile.
    return { bytes: 0, lastUsedMs: 0 };
  }
}

function folderOf(into: string, digest: Digest): string {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new StillpointError("NAME_INVALID", `${digest} is not a digest`);
  return join(into, `${parts.algorithm}-${parts.hex}`);
}

function digestOfName(name: string): Digest | undefined {
  const digest = name.replace("-", ":");
  return parseDigest(digest) === undefined ? undefined : digest;
}

async function sync(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
