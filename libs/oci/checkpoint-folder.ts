import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { type CheckpointConfig, checkpointConfigShape } from "./checkpoint-artifact.ts";
import { digestOf } from "./digest.ts";

/** The file of an exported checkpoint that describes the others. */
export const DESCRIPTION = "checkpoint.json";

const filePattern = /^(receipt\.json|ram\.zst|boot\/(kernel|initrd)|disks\/[a-z][a-z0-9]{0,15}\.qcow2)$/;
const shape = z.object({
  checkpoint: checkpointConfigShape.omit({ disks: true, ram: true }),
  /** sha256 by path. */
  files: z.record(z.string().regex(filePattern), z.string()),
});

export type CheckpointInFolder = Omit<CheckpointConfig, "disks" | "ram">;

/** What stands in the description; its files are by their path in the folder. */
export interface CheckpointFolder {
  readonly checkpoint: CheckpointInFolder;
  readonly files: Readonly<Record<string, string>>;
}

/** The text of checkpoint.json: what the checkpoint promises first, its own digest last. */
export function writeDescription({ checkpoint, files }: CheckpointFolder): string {
  const body = { consistency: checkpoint.consistency, checkpoint, files };
  return `${JSON.stringify({ ...body, digest: digestOf(Buffer.from(JSON.stringify(body))) }, null, 2)}\n`;
}

/**
 * Reads an exported checkpoint's description and compares every file with its digest.
 * @throws StillpointError CHECKPOINT_DAMAGED, which names the file that was altered or is missing
 */
export async function verifyFolder(folder: string, signal?: AbortSignal): Promise<CheckpointFolder> {
  const text = await readFile(join(folder, DESCRIPTION), "utf8").catch((error: unknown) => {
    throw missing(folder, DESCRIPTION, error);
  });
  const description = readDescription(folder, text);
  for (const [name, digest] of Object.entries(description.files)) {
    if ((await digestOfFile(folder, name, signal)) !== digest) throw altered(folder, name);
  }
  return description;
}

/** sha256 of a file in a folder. */
export async function digestOfFile(folder: string, name: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    const bytes = createReadStream(join(folder, name), { highWaterMark: 2 ** 20 });
    await pipeline(bytes, hash, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw missing(folder, name, error);
  }
  return `sha256:${hash.digest("hex")}`;
}

function readDescription(folder: string, text: string): CheckpointFolder {
  try {
    const { digest, ...body } = JSON.parse(text) as Record<string, unknown>;
    if (digest === digestOf(Buffer.from(JSON.stringify(body)))) return shape.parse(body);
  } catch (error) {
    throw altered(folder, DESCRIPTION, error);
  }
  throw altered(folder, DESCRIPTION);
}

const help = "Copy the folder again, or export the checkpoint again.";

function altered(folder: string, name: string, cause?: unknown): StillpointError {
  return new StillpointError("CHECKPOINT_DAMAGED", `${join(folder, name)} is not what was exported`, { cause, help });
}

function missing(folder: string, name: string, cause: unknown): StillpointError {
  return new StillpointError("CHECKPOINT_DAMAGED", `${join(folder, name)} cannot be read`, { cause, help });
}
