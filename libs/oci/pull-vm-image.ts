import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#libs/clock";
import { DEFAULT_MAX_VIRTUAL_SIZE_BYTES } from "#libs/disk-image";
import { isStillpointError, StillpointError } from "#libs/errors";
import { fileSource } from "./blob-source.ts";
import type { Digest } from "./digest.ts";
import { fetchRawDisk } from "./fetch-raw-disk.ts";
import { cancellable } from "./in-parallel.ts";
import type { Descriptor } from "./manifest.ts";
import { Patience } from "./patience.ts";
import type { Progress } from "./progress.ts";
import { type PulledVmImage, publishPulled, readPulled, unfinishedFolderOf } from "./pulled-images.ts";
import { parseReference } from "./reference.ts";
import type { RegistryClient } from "./registry-client.ts";
import { SharedWork } from "./shared-work.ts";
import { type FoundArtifact, getArtifact } from "./transfer-artifact.ts";
import { configOf, readVmImage, type VmImage } from "./vm-image.ts";

export interface PullVmImage {
  readonly registry: RegistryClient;
  /** `repository@digest`, or `repository:tag` for what the tag names now. */
  readonly reference: string;
  /** The folder of pulled images, absolute; made when it is missing. One process at a time pulls into it. */
  readonly into: string;
  /** 2 TiB when left out. */
  readonly maxVirtualSizeBytes?: number;
  /** Called before anything is written, with the bytes that the image may take beyond what is there. */
  readonly makeRoom?: (bytes: number) => Promise<void>;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

const pulls = new SharedWork<PulledVmImage>();

/**
 * Brings a VM image into `<into>/<digest>/`, every byte checked, and answers at once when it is there. The folder
 * appears when it is complete and durable. What a pull that was killed, aborted or lost its registry has brought stays
 * beside it, and the next one goes on from there; a registry that is away in the middle is waited for. Pulls of the
 * same image at the same time share the work (and the first one's progress).
 * @throws StillpointError IMAGE_NOT_FOUND, IMAGE_INVALID, IMAGE_CORRUPT, IMAGE_TOO_LARGE, REGISTRY_UNREACHABLE,
 * SPACE_INSUFFICIENT, CANCELLED
 */
export async function pullVmImage(pull: PullVmImage): Promise<PulledVmImage> {
  return await cancellable(`the pull of ${pull.reference}`, pull.signal, () => findOrFetch(pull));
}

async function findOrFetch(pull: PullVmImage): Promise<PulledVmImage> {
  const { repository, tag, digest } = parseReference(pull.reference);
  const present = digest === undefined ? undefined : await readPulled(pull.into, digest);
  if (present !== undefined) return present;
  const artifact = await getArtifact(pull.registry, repository, digest ?? tag ?? "", pull.signal);
  if (artifact === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no image ${pull.reference}`);
  const wanted = { ...pull, repository, digest: artifact.descriptor.digest, artifact };
  return await pulls.share(unfinishedFolderOf(pull.into, wanted.digest), pull.signal, async (signal) => {
    return (await readPulled(wanted.into, wanted.digest)) ?? (await fetchImage(wanted, signal));
  });
}

interface Wanted extends PullVmImage {
  readonly repository: string;
  readonly digest: Digest;
  readonly artifact: FoundArtifact;
}

async function fetchImage(wanted: Wanted, signal: AbortSignal): Promise<PulledVmImage> {
  const image = await readConfig(wanted, signal);
  const folder = unfinishedFolderOf(wanted.into, wanted.digest);
  await wanted.makeRoom?.(await bytesToCome(folder, image));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    await fetchFiles(wanted, image, folder, signal);
  } catch (error) {
    if (!isOfUse(error)) await rm(folder, { recursive: true, force: true });
    throw asShortage(wanted, error);
  }
  await publishPulled(wanted.into, wanted.digest, image);
  const pulled = await readPulled(wanted.into, wanted.digest);
  if (pulled === undefined) throw new StillpointError("INTERNAL", `the image ${wanted.reference} is gone again`);
  return pulled;
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

/** At most; chunks may have holes. */
async function bytesToCome(folder: string, { chunks, kernel, initrd }: VmImage): Promise<number> {
  const there = await stat(join(folder, "disk.raw")).catch(() => undefined);
  const boot = (kernel?.size ?? 0) + (initrd?.size ?? 0);
  const disk = chunks.reduce((sum, { length }) => sum + length, 0);
  return Math.max(0, disk - (there?.blocks ?? 0) * 512) + boot;
}

async function fetchFiles(wanted: Wanted, image: VmImage, folder: string, signal: AbortSignal): Promise<void> {
  const { registry, repository, onProgress, clock } = wanted;
  const patience = new Patience(clock);
  const source = { registry, repository, patience, onProgress };
  await fetchRawDisk(source, image, join(folder, "disk.raw"), signal);
  for (const [name, blob] of Object.entries({ kernel: image.kernel, initrd: image.initrd })) {
    const path = join(folder, name);
    if (blob === undefined || (await isThere(path, blob))) continue;
    await patience.outlast(signal, () => registry.saveBlob(repository, blob, path, signal));
  }
  await using folderHandle = await open(folder, "r");
  await folderHandle.sync();
}

async function isThere(path: string, { digest }: Descriptor): Promise<boolean> {
  const found = await fileSource(path).catch(() => undefined);
  return found?.digest === digest;
}

/** An image that is wrong, and a disk that is full: what was brought would only be in the way. */
function isOfUse(error: unknown): boolean {
  return !isNoSpace(error) && !(isStillpointError(error) && error.reason.startsWith("IMAGE_"));
}

function asShortage({ into, reference }: Wanted, error: unknown): unknown {
  if (!isNoSpace(error)) return error;
  return new StillpointError("SPACE_INSUFFICIENT", `${into} has no room for ${reference}`, { cause: error });
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}
