import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "#libs/logger";
import { type CheckpointContents, type Descriptor, type RegistryClient, readCheckpoint } from "#libs/oci";
import { writeDurably } from "../durable-file.ts";
import type { Workload } from "../workload.ts";

/** What a checkpoint's chunks are in a repository, kept beside it when it was pushed. */
interface PushedMap {
  readonly repository: string;
  /** The manifest that stands for it. */
  readonly descriptor: Descriptor;
  readonly subject?: Descriptor | undefined;
  readonly config: unknown;
  readonly layers: readonly Descriptor[];
}

/** A checkpoint whose chunks the repository holds. */
export interface KnownPush {
  readonly uid: string;
  readonly descriptor: Descriptor;
  readonly subject?: Descriptor | undefined;
  readonly contents: CheckpointContents;
}

export async function writePushedMap({ folder }: Workload, uid: string, map: PushedMap): Promise<void> {
  await writeDurably(mapPath(folder.checkpoint(uid), map.repository), JSON.stringify(map));
}

interface Wanted {
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The newest of these checkpoints that the repository holds; a map that cannot be used is as good as none. */
export async function findPushed(
  workload: Workload,
  uids: readonly string[],
  { registry, repository, logger, signal }: Wanted,
): Promise<KnownPush | undefined> {
  for (const uid of uids) {
    const map = await readMap(mapPath(workload.folder.checkpoint(uid), repository)).catch((error: unknown) => {
      logger.warn({ err: error, checkpoint: uid }, "its map of chunks is passed over");
    });
    if (map !== undefined && (await registry.hasManifest(repository, map.descriptor.digest, signal))) {
      return { uid, ...map };
    }
  }
  return undefined;
}

/** Its own digest of each disk's chunks, in the config, shows whether it is what was written. */
async function readMap(path: string): Promise<Omit<KnownPush, "uid"> | undefined> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (text === undefined) return undefined;
  const { descriptor, subject, config, layers }: PushedMap = JSON.parse(text);
  return { descriptor, subject, contents: readCheckpoint({ layers }, config) };
}

function mapPath(folder: string, repository: string): string {
  return join(folder, `chunks-${createHash("sha256").update(repository).digest("hex").slice(0, 16)}.json`);
}
