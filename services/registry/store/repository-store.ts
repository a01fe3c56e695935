import { readdir, readFile } from "node:fs/promises";
import { parseDigest } from "#libs/oci";
import { absentAsUndefined, type DurableFolder, namesIn, statIfPresent } from "./durable-folder.ts";
import { KeyedLock } from "./keyed-lock.ts";

export interface TagFacts {
  readonly digest: string;
  readonly pushTime: Date;
}

/** A manifest of a repository: what is written beside its digest. */
export interface StoredManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly pushTime: Date;
}

/** What a manifest PUT writes. */
export interface ManifestToStore {
  readonly digest: string;
  readonly mediaType: string;
  readonly tags: readonly string[];
  /** With a subject: the digest that it refers to, and the descriptor that lists show. */
  readonly referrer?: { readonly subject: string; readonly descriptor: object };
}

/**
 * What each repository holds, as small files under `repositories/<name>/`: `_blobs/<algorithm>/<hex>` (empty),
 * `_manifests/<algorithm>/<hex>` (the media type), `_tags/<tag>` (the digest; the last writer wins) and
 * `_referrers/<subject>/<manifest>` (the descriptor). No component of a name begins with an underscore.
 */
export class RepositoryStore {
  readonly #files: DurableFolder;
  readonly #manifestWrites = new KeyedLock();

  constructor(files: DurableFolder) {
    this.#files = files;
  }

  async exists(repository: string): Promise<boolean> {
    return (await namesIn(this.#files.path("repositories", repository))).some((name) => name.startsWith("_"));
  }

  /** The names of all repositories, in no order. */
  async list(): Promise<string[]> {
    return await this.#listBelow("");
  }

  async hasBlob(repository: string, digest: string): Promise<boolean> {
    return (await statIfPresent(this.#link(repository, "_blobs", digest))) !== undefined;
  }

  async addBlob(repository: string, digest: string): Promise<void> {
    await this.#files.mark(this.#link(repository, "_blobs", digest));
  }

  async removeBlob(repository: string, digest: string): Promise<boolean> {
    return await this.#files.remove(this.#link(repository, "_blobs", digest));
  }

  async manifest(repository: string, digest: string): Promise<StoredManifest | undefined> {
    const path = this.#link(repository, "_manifests", digest);
    const mediaType = await readIfPresent(path);
    const status = await statIfPresent(path);
    return mediaType === undefined || status === undefined ? undefined : { digest, mediaType, pushTime: status.mtime };
  }

  /** Makes a manifest visible whose content is stored: first as a referrer, then itself, then under its tags. */
  async addManifest(repository: string, { digest, mediaType, tags, referrer }: ManifestToStore): Promise<void> {
    await this.#manifestWrites.hold(repository, async () => {
      if (referrer !== undefined) {
        const path = this.#referrer(repository, referrer.subject, digest);
        await this.#files.write(path, JSON.stringify(referrer.descriptor));
      }
      await this.#files.write(this.#link(repository, "_manifests", digest), mediaType);
      for (const tag of tags) await this.#files.write(this.#tag(repository, tag), digest);
    });
  }

  /** Removes a manifest, all tags that name it, and its place among the subject's referrers. */
  async removeManifest(repository: string, digest: string, subject: string | undefined): Promise<boolean> {
    return await this.#manifestWrites.hold(repository, async () => {
      for (const tag of await this.tags(repository)) {
        if ((await this.tag(repository, tag))?.digest === digest) await this.#files.remove(this.#tag(repository, tag));
      }
      const wasThere = await this.#files.remove(this.#link(repository, "_manifests", digest));
      if (subject !== undefined) await this.#files.remove(this.#referrer(repository, subject, digest));
      return wasThere;
    });
  }

  async tag(repository: string, tag: string): Promise<TagFacts | undefined> {
    const path = this.#tag(repository, tag);
    const digest = await readIfPresent(path);
    const status = await statIfPresent(path);
    return digest === undefined || status === undefined ? undefined : { digest, pushTime: status.mtime };
  }

  async removeTag(repository: string, tag: string): Promise<boolean> {
    return await this.#files.remove(this.#tag(repository, tag));
  }

  async tags(repository: string): Promise<string[]> {
    return await namesIn(this.#files.path("repositories", repository, "_tags"));
  }

  /** The descriptors of the manifests whose subject this is. */
  async referrers(repository: string, subject: string): Promise<{ digest: string; artifactType?: string }[]> {
    const folder = this.#files.path("repositories", repository, "_referrers", nameOf(subject));
    const found: { digest: string; artifactType?: string }[] = [];
    for (const name of (await namesIn(folder)).sort()) {
      const text = await readIfPresent(`${folder}/${name}`);
      const descriptor = text === undefined ? undefined : JSON.parse(text);
      if (descriptor && (await this.manifest(repository, descriptor.digest)) !== undefined) found.push(descriptor);
    }
    return found;
  }

  async #listBelow(parent: string): Promise<string[]> {
    const folder = this.#files.path("repositories", parent);
    const entries = (await readdir(folder, { withFileTypes: true }).catch(absentAsUndefined)) ?? [];
    const own = entries.some(({ name }) => name === "_manifests") ? [parent] : [];
    const children = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("_"));
    const below = children.map(({ name }) => this.#listBelow(parent === "" ? name : `${parent}/${name}`));
    return [...own, ...(await Promise.all(below)).flat()];
  }

  #link(repository: string, kind: "_blobs" | "_manifests", digest: string): string {
    const parts = parseDigest(digest);
    if (parts === undefined) throw new Error(`not a digest: ${digest}`);
    return this.#files.path("repositories", repository, kind, parts.algorithm, parts.hex);
  }

  #tag(repository: string, tag: string): string {
    return this.#files.path("repositories", repository, "_tags", tag);
  }

  #referrer(repository: string, subject: string, digest: string): string {
    return this.#files.path("repositories", repository, "_referrers", nameOf(subject), nameOf(digest));
  }
}

async function readIfPresent(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(absentAsUndefined);
}

function nameOf(digest: string): string {
  return digest.replace(":", "-");
}
