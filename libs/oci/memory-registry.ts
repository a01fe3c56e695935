import { writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { StillpointError } from "#libs/errors";
import type { BlobSource } from "./blob-source.ts";
import { type Digest, digestOf, isDigest } from "./digest.ts";
import type { Descriptor } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";

/** A registry of one repository namespace in memory, for tests; it counts what is asked of it. */
export class MemoryRegistry implements RegistryClient {
  readonly blobs = new Map<string, Buffer>();
  readonly counts = { hasBlob: 0, putBlob: 0, readBlob: 0 };
  readonly #manifests = new Map<string, { readonly descriptor: Descriptor; readonly bytes: Buffer }>();

  async hasBlob(repository: string, digest: Digest, signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    this.counts.hasBlob += 1;
    return this.blobs.has(`${repository}@${digest}`);
  }

  async putBlob(repository: string, source: BlobSource, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.counts.putBlob += 1;
    const content = source.open();
    const bytes = content instanceof Readable ? await buffer(content) : Buffer.from(content);
    if (digestOf(bytes) !== source.digest) throw new StillpointError("IMAGE_INVALID", "another digest");
    this.blobs.set(`${repository}@${source.digest}`, bytes);
  }

  async readBlob(repository: string, blob: Descriptor, signal?: AbortSignal): Promise<Buffer> {
    signal?.throwIfAborted();
    this.counts.readBlob += 1;
    const bytes = this.blobs.get(`${repository}@${blob.digest}`);
    if (bytes === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no blob ${blob.digest}`);
    if (digestOf(bytes) !== blob.digest) throw new StillpointError("IMAGE_CORRUPT", "other bytes than asked for");
    return bytes;
  }

  async saveBlob(repository: string, blob: Descriptor, path: string, signal?: AbortSignal): Promise<void> {
    await writeFile(path, await this.readBlob(repository, blob, signal));
  }

  async getManifest(repository: string, reference: string) {
    return this.#manifests.get(`${repository}@${reference}`);
  }

  async hasManifest(repository: string, reference: string) {
    return this.#manifests.has(`${repository}@${reference}`);
  }

  async putManifest(repository: string, reference: string, manifest: { mediaType: string; bytes: Uint8Array }) {
    const bytes = Buffer.from(manifest.bytes);
    const digest = digestOf(bytes);
    const stored = { descriptor: { mediaType: manifest.mediaType, digest, size: bytes.length }, bytes };
    this.#manifests.set(`${repository}@${digest}`, stored);
    if (!isDigest(reference)) this.#manifests.set(`${repository}@${reference}`, stored);
    return digest;
  }

  async deleteManifest(repository: string, reference: string): Promise<void> {
    if (this.#manifests.delete(`${repository}@${reference}`)) return;
    throw new StillpointError("IMAGE_NOT_FOUND", `there is no ${reference} in ${repository}`);
  }

  async referrers(repository: string, digest: Digest, artifactType?: string): Promise<readonly Descriptor[]> {
    const found = new Map<string, Descriptor>();
    for (const [key, { descriptor, bytes }] of this.#manifests) {
      const manifest: { subject?: Descriptor; artifactType?: string } = JSON.parse(bytes.toString());
      const fits = key.startsWith(`${repository}@`) && manifest.subject?.digest === digest;
      if (fits && (artifactType === undefined || manifest.artifactType === artifactType)) {
        found.set(descriptor.digest, descriptor);
      }
    }
    return [...found.values()];
  }

  close(): void {}
}
