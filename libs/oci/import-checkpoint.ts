import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { checkImage, dataRanges, inspectImage } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { type CheckpointFolder, verifyFolder } from "./checkpoint-folder.ts";
import type { Progress } from "./progress.ts";
import { type DiskToPush, type PushedCheckpoint, pushCheckpoint } from "./push-checkpoint.ts";
import type { RegistryClient } from "./registry-client.ts";

export interface ImportCheckpoint {
  readonly registry: RegistryClient;
  /** As `exportCheckpoint` made it. */
  readonly folder: string;
  readonly repository: string;
  readonly tag: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Pushes an exported checkpoint, every file of it verified first.
 * @throws StillpointError CHECKPOINT_DAMAGED, which names the file; IMAGE_INVALID, IMAGE_CORRUPT for a disk that is not
 * what we write; and of `pushCheckpoint`
 */
export async function importCheckpoint({
  folder,
  ...push
}: ImportCheckpoint): Promise<PushedCheckpoint & CheckpointFolder> {
  const root = resolve(folder);
  const description = await verifyFolder(root, push.signal);
  const { checkpoint, files } = description;
  const { version: _version, ...config } = checkpoint;
  const pathOf = (name: string) => (files[name] === undefined ? undefined : join(root, name));
  const [kernel, initrd, ram] = ["boot/kernel", "boot/initrd", "ram.zst"].map(pathOf);
  const receipt = files["receipt.json"] === undefined ? {} : await readJson(join(root, "receipt.json"));
  const names = Object.keys(files).filter((name) => name.startsWith("disks/"));
  const disks: DiskToPush[] = [];
  for (const name of names) disks.push(await diskOf(root, name, push.signal));
  const pushed = await pushCheckpoint({
    ...{ ...push, config, disks, receipt },
    ...(kernel !== undefined && { kernel }),
    ...(initrd !== undefined && { initrd }),
    ...(ram !== undefined && { ram }),
  });
  return { ...pushed, ...description };
}

/** The folder may come from anywhere: nothing but a plain disk that stands alone is opened. */
async function diskOf(root: string, name: string, signal: AbortSignal | undefined): Promise<DiskToPush> {
  const path = join(root, name);
  const { format, virtualSizeBytes } = await inspectImage(path);
  const { corruptions } = await checkImage(path, { signal });
  if (format !== "qcow2" || corruptions > 0) {
    throw new StillpointError("IMAGE_CORRUPT", `${path} is not a disk as an export writes it`);
  }
  const id = name.slice("disks/".length, -".qcow2".length);
  const ranges = await dataRanges(path, format, { signal });
  return { id, path: () => path, format, virtualSizeBytes, ranges, known: [] };
}

async function readJson(path: string): Promise<object> {
  const value: unknown = JSON.parse(await readFile(path, "utf8"));
  return typeof value === "object" && value !== null ? value : {};
}
