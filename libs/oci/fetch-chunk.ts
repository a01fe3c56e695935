import { StillpointError } from "#libs/errors";
import { digestOf, parseDigest } from "./digest.ts";
import type { ChunkDescriptor } from "./disk-chunks.ts";
import type { RegistryClient } from "./registry-client.ts";
import { decompress } from "./zstd.ts";

interface Source {
  readonly registry: RegistryClient;
  readonly repository: string;
}

/** The bytes of a chunk, checked. @throws StillpointError IMAGE_CORRUPT, IMAGE_NOT_FOUND */
export async function fetchChunk(
  { registry, repository }: Source,
  { offset, length, contentDigest, blob }: ChunkDescriptor,
  signal: AbortSignal,
): Promise<Buffer> {
  const content = await decompress(await registry.readBlob(repository, blob, signal), length);
  if (isContent(content, contentDigest)) return content;
  throw new StillpointError("IMAGE_CORRUPT", `the chunk at byte ${offset} is not what the manifest says`);
}

export function isContent(bytes: Buffer, contentDigest: string): boolean {
  return digestOf(bytes, parseDigest(contentDigest)?.algorithm) === contentDigest;
}
