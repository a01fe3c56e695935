import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "#libs/logger";
import type { Descriptor, RegistryClient } from "#libs/oci";
import { writeDurably } from "../durable-file.ts";

/** What a checkpoint's chunks are in a repository, kept beside it when it was pushed. */
interface PushedMap {
  readonly repository: string;
  /** The manifest that stands for it. */
  readonly descriptor: Descriptor;
  readonly subject?: Descriptor | undefined;
  readonly config: unknown;
  readonly layers: readonly Descriptor[];
  /** Of a container's. */
  readonly image?: Descriptor;
}

/** A checkpoint whose chunks the repository holds. */
export interface KnownPush<Contents> {
  readonly uid: string;
  readonly descriptor: Descriptor;
  readonly subject?: Descriptor | undefined;
  readonly contents: Contents;
}

/** @param folder the checkpoint's */
export async function writePushedMap(folder: string, map: PushedMap): Promise<void> {
  await writeDurably(mapPath(folder, map.repository), JSON.stringify(map));
}

interface Wanted<Contents> {
  /** Of a checkpoint. */
  readonly folderOf: (uid: string) => string;
  /** Its own digest of each disk's chunks, in the config, shows whether a map is what was written. */
  readonly read: (map: Pick<PushedMap, "layers" | "image">, config: unknown) => Contents;
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The newest of these checkpoints that the repository holds; a map that cannot be used is as good as none. */
export async function findPushed<Contents>(
  uids: readonly string[],
  { folderOf, read, registry, repository, logger, signal }: Wanted<Contents>,
): Promise<KnownPush<Contents> | undefined> {
  for (const uid of uids) {
    const map = await readMap(mapPath(folderOf(uid), repository), read).catch((error: unknown) => {
      logger.warn({ err: error, checkpoint: uid }, "its map of chunks is passed over");
    });
    if (map !== undefined && (await registry.hasManifest(repository, map.descriptor.digest, signal))) {
      return { uid, ...map };
    }
  }
  return undefined;
}

async function readMap<Contents>(
  path: string,
  read: Wanted<Contents>["read"],
): Promise<Omit<KnownPush<Contents>, "uid"> | undefined> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (text === undefined) return undefined;
  const { descriptor, subject, config, ...map }: PushedMap = JSON.parse(text);
  return { descriptor, subject, contents: read(map, config) };
}

function mapPath(folder: string, repository: string): string {
  return join(folder, `chunks-${createHash("sha256").update(repository).digest("hex").slice(0, 16)}.json`);
}
