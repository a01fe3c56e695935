import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_MAX_VIRTUAL_SIZE_BYTES, dataPieces } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { chunksAtATime } from "./chunks.ts";
import { type Digest, parseDigest } from "./digest.ts";
import { fetchChunk } from "./fetch-chunk.ts";
import { cancellable, inParallel } from "./in-parallel.ts";
import type { Progress } from "./progress.ts";
import { parseReference } from "./reference.ts";
import type { RegistryClient } from "./registry-client.ts";
import { SharedWork } from "./shared-work.ts";
import { type FoundArtifact, getArtifact } from "./transfer-artifact.ts";
import { configOf, readVmImage, type VmImage } from "./vm-image.ts";

/** More bring no speed, and memory to a process that lives long. */
const MOST_AT_A_TIME = 4;

export interface PullVmImage {
  readonly registry: RegistryClient;
  /** `repository@digest`, or `repository:tag` for what the tag names now. */
  readonly reference: string;
  /** The folder of pulled images, absolute; made when it is missing. */
  readonly into: string;
  /** 2 TiB when left out. */
  readonly maxVirtualSizeBytes?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface PulledVmImage {
  readonly digest: Digest;
  /** Path of the raw disk; to be read only. */
  readonly disk: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly virtualSizeBytes: number;
}

const pulls = new SharedWork<PulledVmImage>();
const UNFINISHED = ".tmp-";

/**
 * Brings a VM image into `<into>/<digest>/`, every byte checked, and answers at once when it is there. The folder
 * appears when it is complete and durable; a failed or aborted pull leaves nothing. Pulls of the same image at the
 * same time share the work (and the first one's progress).
 * @throws StillpointError IMAGE_NOT_FOUND, IMAGE_INVALID, IMAGE_CORRUPT, IMAGE_TOO_LARGE, REGISTRY_UNREACHABLE,
 * SPACE_INSUFFICIENT, CANCELLED
 */
export async function pullVmImage(pull: PullVmImage): Promise<PulledVmImage> {
  try {
    return await cancellable(`the pull of ${pull.reference}`, pull.signal, () => findOrFetch(pull));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    throw new StillpointError("SPACE_INSUFFICIENT", `${pull.into} has no room for ${pull.reference}`, { cause: error });
  }
}

async function findOrFetch(pull: PullVmImage): Promise<PulledVmImage> {
  const { repository, tag, digest } = parseReference(pull.reference);
  const present = digest === undefined ? undefined : await readPulled(pull.into, digest);
  if (present !== undefined) return present;
  const artifact = await getArtifact(pull.registry, repository, digest ?? tag ?? "", pull.signal);
  if (artifact === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no image ${pull.reference}`);
  const wanted = { ...pull, repository, digest: artifact.descriptor.digest, artifact };
  return await pulls.share(folderOf(pull.into, wanted.digest), pull.signal, async (signal) => {
    return (await readPulled(wanted.into, wanted.digest)) ?? (await fetchImage(wanted, signal));
  });
}

/** Removes what pulls of a killed process left; to be called while none runs. */
export async function clearUnfinishedPulls(into: string): Promise<void> {
  await mkdir(into, { recursive: true, mode: 0o700 });
  const left = (await readdir(into)).filter((name) => name.startsWith(UNFINISHED));
  await Promise.all(left.map((name) => rm(join(into, name), { recursive: true, force: true })));
}

interface Wanted extends PullVmImage {
  readonly repository: string;
  readonly digest: Digest;
  readonly artifact: FoundArtifact;
}

async function fetchImage(wanted: Wanted, signal: AbortSignal): Promise<PulledVmImage> {
  const image = await readConfig(wanted, signal);
  const folder = join(wanted.into, `${UNFINISHED}${randomUUID()}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    await fetchDisk(wanted, image, join(folder, "disk.raw"), signal);
    await fetchBoot(wanted, image, folder, signal);
    await writeDescription(folder, image);
    await publish(folder, folderOf(wanted.into, wanted.digest));
    await sync(wanted.into);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return pulledImage(wanted.into, wanted.digest, image);
}

async function readConfig(wanted: Wanted, signal: AbortSignal): Promise<VmImage> {
  const { registry, repository, maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_SIZE_BYTES } = wanted;
  const { artifact } = wanted;
  const config: unknown = JSON.parse((await registry.readBlob(repository, configOf(artifact), signal)).toString());
  const image = readVmImage(artifact, config);
  if (image.virtualSizeBytes <= maxVirtualSizeBytes) return image;
  const message = `${wanted.reference} is a disk of ${image.virtualSizeBytes} bytes; the quota is ${maxVirtualSizeBytes}`;
  throw new StillpointError("IMAGE_TOO_LARGE", message);
}

async function fetchDisk(wanted: Wanted, image: VmImage, path: string, signal: AbortSignal): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.truncate(image.virtualSizeBytes);
  const totalBytes = image.chunks.reduce((sum, { length }) => sum + length, 0);
  let [doneBytes, transferredBytes] = [0, 0];
  await inParallel(
    image.chunks,
    { limit: chunksAtATime(image.chunkSizeBytes, MOST_AT_A_TIME), signal },
    async (chunk, aborted) => {
      const content = await fetchChunk(wanted, chunk, aborted);
      for (const { at, bytes } of dataPieces(content)) await file.write(bytes, 0, bytes.length, chunk.offset + at);
      doneBytes += chunk.length;
      transferredBytes += chunk.blob.size;
      wanted.onProgress?.({ doneBytes, totalBytes, transferredBytes });
    },
  );
  await file.sync();
}

async function fetchBoot(
  { registry, repository }: Wanted,
  { kernel, initrd }: VmImage,
  folder: string,
  signal: AbortSignal,
) {
  if (kernel !== undefined) await registry.saveBlob(repository, kernel, join(folder, "kernel"), signal);
  if (initrd !== undefined) await registry.saveBlob(repository, initrd, join(folder, "initrd"), signal);
}

/** What `readPulled` needs; written last. */
interface Description {
  readonly virtualSizeBytes: number;
  readonly hasKernel: boolean;
  readonly hasInitrd: boolean;
  readonly cmdline?: string;
}

async function writeDescription(folder: string, image: VmImage): Promise<void> {
  const path = join(folder, "image.json");
  await writeFile(path, JSON.stringify(describe(image)), { mode: 0o600, flush: true });
  await sync(folder);
}

async function readPulled(into: string, digest: Digest): Promise<PulledVmImage | undefined> {
  const folder = folderOf(into, digest);
  const text = await readFile(join(folder, "image.json"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const description: Description = JSON.parse(text);
  const { size } = await stat(join(folder, "disk.raw"));
  if (size === description.virtualSizeBytes) return pulled(folder, digest, description);
  throw new StillpointError("IMAGE_CORRUPT", `${folder}/disk.raw has changed its size`);
}

function pulledImage(into: string, digest: Digest, image: VmImage): PulledVmImage {
  return pulled(folderOf(into, digest), digest, describe(image));
}

function describe({ virtualSizeBytes, kernel, initrd, cmdline }: VmImage): Description {
  const boot = { hasKernel: kernel !== undefined, hasInitrd: initrd !== undefined };
  return { virtualSizeBytes, ...boot, ...(cmdline !== undefined && { cmdline }) };
}

function pulled(folder: string, digest: Digest, { virtualSizeBytes, hasKernel, hasInitrd, cmdline }: Description) {
  return {
    digest,
    disk: join(folder, "disk.raw"),
    ...(hasKernel && { kernel: join(folder, "kernel") }),
    ...(hasInitrd && { initrd: join(folder, "initrd") }),
    ...(cmdline !== undefined && { cmdline }),
    virtualSizeBytes,
  };
}

/** Another process may have been faster; then its folder holds the same bytes. */
async function publish(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  });
}

function folderOf(into: string, digest: Digest): string {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new StillpointError("NAME_INVALID", `${digest} is not a digest`);
  return join(into, `${parts.algorithm}-${parts.hex}`);
}

async function sync(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
