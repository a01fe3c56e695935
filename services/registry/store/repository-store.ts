import { isDigest } from "#libs/oci";
import { digestOfLink, keys, type LinkKind, repositoryOf } from "./keys.ts";
import { decodeLink, encodeLink, type Link } from "./link.ts";
import { type LinkMeter, type MeteredLink, unmetered } from "./link-meter.ts";
import type { ListOptions, ObjectStore, StoredObject } from "./object-store.ts";

export interface TagFacts {
  readonly digest: string;
  readonly pushTime: Date;
}

/** A manifest of a repository: what is written beside its digest. */
export interface StoredManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly pushTime: Date;
}

/** What a manifest PUT writes. */
export interface ManifestToStore {
  readonly digest: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly tags: readonly string[];
  /** With a subject: the digest that it refers to, and the descriptor that lists show. */
  readonly referrer?: { readonly subject: string; readonly descriptor: object };
}

/** Collection's say in whether something is there. */
interface WantedGuard {
  /** Told when somebody asks for what is linked; false when it counts as absent. */
  wanted(repository: string, digest: string): Promise<boolean>;
}

/**
 * What each repository holds, as small objects (`keys.ts`). A manifest is there while its link is: a tag or a referrer
 * that names it says nothing before the link is written, and nothing after it was removed. That one write decides, on
 * every replica, without a lock.
 */
export class RepositoryStore {
  readonly #objects: ObjectStore;
  readonly #guard: WantedGuard;
  readonly #meter: LinkMeter;
  /** Keys of repositories; they stay. */
  readonly #entered = new Set<string>();

  constructor(objects: ObjectStore, guard: WantedGuard, meter: LinkMeter = unmetered) {
    this.#objects = objects;
    this.#guard = guard;
    this.#meter = meter;
  }

  async exists(repository: string): Promise<boolean> {
    return (await this.#objects.list(keys.repository(repository), { limit: 1 })).length > 0;
  }

  /** The names of repositories, in the order of their names with `/` before all other characters. */
  async list({ after, limit }: ListOptions = {}): Promise<string[]> {
    const from = after === undefined ? undefined : keys.catalog(after);
    return (await this.#objects.list("catalog/", { after: from, limit })).map(repositoryOf);
  }

  /** The same of all that may have anything, blobs alone too. For collection. */
  async known({ after, limit }: ListOptions = {}): Promise<string[]> {
    const from = after === undefined ? undefined : keys.known(after);
    return (await this.#objects.list("known/", { after: from, limit })).map(repositoryOf);
  }

  /** The blob's link, when the repository has it; to ask is to want it, so that it is no candidate any more. */
  async blob(repository: string, digest: string): Promise<Link | undefined> {
    const found = await this.#wanted(repository, "_blobs", digest);
    return found && decodeLink(found.bytes);
  }

  /** Links content that is there. @throws OciError DENIED when the project has no room for it */
  async addBlob(repository: string, digest: string, sizeBytes: number): Promise<void> {
    await this.#enter(keys.known(repository));
    await this.#addLink({ repository, kind: "_blobs", digest }, { sizeBytes });
  }

  /** Fails with DENIED when the project has no room for such a blob, before it is taken in. */
  async refuseBeyond(repository: string, digest: string, sizeBytes: number): Promise<void> {
    await this.#meter.refuseBeyond({ repository, kind: "_blobs", digest }, sizeBytes);
  }

  /** False when the repository did not have it. */
  async removeBlob(repository: string, digest: string): Promise<boolean> {
    const key = keys.link(repository, "_blobs", digest);
    const wasThere = (await this.#objects.head(key)) !== undefined;
    await this.#objects.delete([key]);
    await this.#meter.removed([{ repository, kind: "_blobs", digest }]);
    return wasThere;
  }

  async manifest(repository: string, digest: string): Promise<StoredManifest | undefined> {
    return storedManifest(digest, await this.#wanted(repository, "_manifests", digest));
  }

  /** The same for those who only count: it is no sign that somebody wants it. */
  async seeManifest(repository: string, digest: string): Promise<StoredManifest | undefined> {
    return storedManifest(digest, await this.#objects.read(keys.link(repository, "_manifests", digest)));
  }

  /** Makes a manifest visible whose content is stored: first as a referrer, then itself, then under its tags. */
  async addManifest(repository: string, manifest: ManifestToStore): Promise<void> {
    const { digest, mediaType, sizeBytes, tags, referrer } = manifest;
    const objects = this.#objects;
    await this.#enter(keys.known(repository));
    await this.#enter(keys.catalog(repository));
    if (referrer !== undefined) {
      await objects.put(keys.referrer(repository, referrer.subject, digest), JSON.stringify(referrer.descriptor));
    }
    await this.#addLink({ repository, kind: "_manifests", digest }, { sizeBytes, mediaType });
    await Promise.all(tags.map((tag) => this.#addTag(repository, tag, digest)));
  }

  /** Removes a manifest, which all its tags go with, and its place among the subject's referrers. */
  async removeManifest(repository: string, digest: string, subject: string | undefined): Promise<boolean> {
    const key = keys.link(repository, "_manifests", digest);
    const wasThere = (await this.#objects.head(key)) !== undefined;
    await this.#objects.delete([key]);
    await this.#meter.removed([{ repository, kind: "_manifests", digest }]);
    await this.#removeTagsOf(repository, digest);
    if (subject !== undefined) await this.#objects.delete([keys.referrer(repository, subject, digest)]);
    return wasThere;
  }

  /** What a tag names, whether or not the repository has it. */
  async tag(repository: string, tag: string): Promise<TagFacts | undefined> {
    const found = await this.#objects.read(keys.tag(repository, tag));
    return found && { digest: found.bytes.toString(), pushTime: found.modifiedTime };
  }

  /** False when there was none. */
  async removeTag(repository: string, tag: string): Promise<boolean> {
    const found = await this.tag(repository, tag);
    if (found === undefined) return false;
    await this.#objects.delete([keys.tag(repository, tag)]);
    return true;
  }

  /** Tags in order. */
  async tags(repository: string, { after, limit }: ListOptions = {}): Promise<string[]> {
    const prefix = keys.tags(repository);
    const from = after === undefined ? undefined : `${prefix}${after}`;
    return (await this.#objects.list(prefix, { after: from, limit })).map((key) => key.slice(prefix.length));
  }

  /** The tags that name a manifest now. */
  async tagsOf(repository: string, digest: string): Promise<string[]> {
    const prefix = keys.taggings(repository, digest);
    const tags = (await this.#objects.list(prefix)).map((key) => key.slice(prefix.length));
    const named = await Promise.all(tags.map((tag) => this.tag(repository, tag)));
    return tags.filter((_tag, place) => named[place]?.digest === digest);
  }

  /** The descriptors of the manifests whose subject this is. */
  async referrers(repository: string, subject: string): Promise<{ digest: string; artifactType?: string }[]> {
    const found = await Promise.all(
      (await this.#objects.list(keys.referrers(repository, subject))).map(async (key) => {
        const object = await this.#objects.read(key);
        const descriptor = object && JSON.parse(object.bytes.toString());
        return descriptor && (await this.manifest(repository, descriptor.digest)) && descriptor;
      }),
    );
    return found.filter((descriptor) => descriptor !== undefined);
  }

  /** The digests of a repository's blobs or manifests, marked ones too, in order. */
  async digests(repository: string, kind: LinkKind, { after, limit }: ListOptions = {}): Promise<string[]> {
    const from = after === undefined ? undefined : keys.link(repository, kind, after);
    const found = await this.#objects.list(keys.links(repository, kind), { after: from, limit });
    return found.map(digestOfLink).filter(isDigest);
  }

  /** A link as it is stored, which is no sign that somebody wants it. For collection. */
  async link(repository: string, kind: LinkKind, digest: string): Promise<Link | undefined> {
    const found = await this.#objects.read(keys.link(repository, kind, digest));
    return found && decodeLink(found.bytes);
  }

  /** Removes what is there of these blobs. For collection. */
  async removeBlobs(repository: string, digests: readonly string[]): Promise<void> {
    await this.#objects.delete(digests.map((digest) => keys.link(repository, "_blobs", digest)));
    if (digests.length > 0)
      await this.#meter.removed(digests.map((digest) => ({ repository, kind: "_blobs", digest })));
  }

  async #addLink(link: MeteredLink, content: Link): Promise<void> {
    const { repository, kind, digest } = link;
    await this.#meter.adding(link, content.sizeBytes);
    try {
      await this.#objects.put(keys.link(repository, kind, digest), encodeLink(content));
    } catch (error) {
      const isThere = await this.link(repository, kind, digest).catch(() => content);
      if (isThere === undefined) await this.#meter.removed([link]);
      throw error;
    }
    await this.#meter.added(link, content.sizeBytes);
  }

  async #wanted(repository: string, kind: LinkKind, digest: string): Promise<StoredObject | undefined> {
    const found = await this.#objects.read(keys.link(repository, kind, digest));
    return found !== undefined && (await this.#guard.wanted(repository, digest)) ? found : undefined;
  }

  /** Written before the first link, so that whoever looks for links finds every repository. */
  async #enter(key: string): Promise<void> {
    if (this.#entered.has(key)) return;
    if ((await this.#objects.head(key)) === undefined) await this.#objects.put(key, "");
    this.#entered.add(key);
  }

  /** The way back from the manifest is written first, so that no tag is without it. */
  async #addTag(repository: string, tag: string, digest: string): Promise<void> {
    await this.#objects.put(keys.tagging(repository, digest, tag), "");
    await this.#objects.put(keys.tag(repository, tag), digest);
  }

  async #removeTagsOf(repository: string, digest: string): Promise<void> {
    const named = await this.tagsOf(repository, digest);
    await this.#objects.delete(named.map((tag) => keys.tag(repository, tag)));
    await this.#objects.delete(await this.#objects.list(keys.taggings(repository, digest)));
  }
}

function storedManifest(digest: string, found: StoredObject | undefined): StoredManifest | undefined {
  if (found === undefined) return undefined;
  const { mediaType = "", sizeBytes } = decodeLink(found.bytes);
  return { digest, mediaType, sizeBytes, pushTime: found.modifiedTime };
}
