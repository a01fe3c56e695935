import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { StillpointError } from "#libs/errors";
import { type CheckpointFolder, DESCRIPTION, digestOfFile, writeDescription } from "./checkpoint-folder.ts";
import { cancellable } from "./in-parallel.ts";
import type { Progress } from "./progress.ts";
import { bytesToFetch, fetchDisk, fetchRam, findRemoteCheckpoint, type RemoteCheckpoint } from "./pull-checkpoint.ts";
import { readReceipt } from "./receipt-referrer.ts";
import type { RegistryClient } from "./registry-client.ts";

export interface ExportCheckpoint {
  readonly registry: RegistryClient;
  /** `repository@digest` or `repository:tag`. */
  readonly reference: string;
  /** Must not exist; its parent must. */
  readonly folder: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Writes a checkpoint of a registry into a folder that stands for itself: checkpoint.json, receipt.json, a qcow2 file
 * for each disk, RAM and boot files. The folder appears when it is whole; a failed export leaves nothing.
 * @throws StillpointError ARGUMENT_INVALID, IMAGE_NOT_FOUND, IMAGE_CORRUPT, REGISTRY_UNREACHABLE, CANCELLED
 */
export async function exportCheckpoint(wanted: ExportCheckpoint): Promise<CheckpointFolder> {
  return await cancellable(`the export of ${wanted.reference}`, wanted.signal, () => exportWhole(wanted));
}

async function exportWhole(wanted: ExportCheckpoint): Promise<CheckpointFolder> {
  const { registry, reference, signal } = wanted;
  const folder = resolve(wanted.folder);
  const unfinished = join(dirname(folder), `.${basename(folder)}.part`);
  await refuseExisting(folder);
  const checkpoint = await findRemoteCheckpoint(registry, reference, signal);
  await rm(unfinished, { recursive: true, force: true });
  await makeFolder(unfinished);
  try {
    const files = await writeFiles(wanted, checkpoint, unfinished);
    const { disks: _disks, ram: _ram, ...config } = checkpoint.config;
    const description: CheckpointFolder = { checkpoint: config, files };
    await writeFile(join(unfinished, DESCRIPTION), writeDescription(description), { mode: 0o600, flush: true });
    await sync(unfinished);
    await refuseExisting(folder);
    await rename(unfinished, folder);
    await sync(dirname(folder));
    return description;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

async function writeFiles(
  { registry, onProgress, signal }: ExportCheckpoint,
  checkpoint: RemoteCheckpoint,
  folder: string,
): Promise<Record<string, string>> {
  const { repository, descriptor, disks, ram, kernel, initrd } = checkpoint;
  const totalBytes = bytesToFetch(checkpoint);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    onProgress?.({ doneBytes, totalBytes, transferredBytes: doneBytes });
  };
  const fetch = (name: string) => ({ registry, checkpoint, path: join(folder, name), onBytes, signal });
  const names = ["receipt.json"];
  const receipt = await readReceipt(registry, { repository, digest: descriptor.digest }, signal);
  await writeFile(join(folder, "receipt.json"), `${JSON.stringify(receipt ?? {}, null, 2)}\n`, { mode: 0o600 });
  await makeFolder(join(folder, "disks"));
  for (const disk of disks) {
    names.push(`disks/${disk.id}.qcow2`);
    await fetchDisk(disk, fetch(`disks/${disk.id}.qcow2`));
  }
  if (ram.length > 0) {
    names.push("ram.zst");
    await fetchRam(fetch("ram.zst"));
  }
  if (kernel !== undefined) await makeFolder(join(folder, "boot"));
  for (const [name, blob] of Object.entries({ "boot/kernel": kernel, "boot/initrd": initrd })) {
    if (blob === undefined) continue;
    names.push(name);
    await registry.saveBlob(repository, blob, join(folder, name), signal);
  }
  const digests: Record<string, string> = {};
  for (const name of names) digests[name] = await digestOfFile(folder, name, signal);
  return digests;
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((cause: unknown) => {
    throw new StillpointError("ARGUMENT_INVALID", `the folder ${path} cannot be made`, { cause });
  });
}

async function refuseExisting(folder: string): Promise<void> {
  const found = await open(folder, "r").catch(() => undefined);
  if (found === undefined) return;
  await found.close();
  throw new StillpointError("ARGUMENT_INVALID", `${folder} exists`, { help: "Name a folder that is not there yet." });
}

async function sync(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
