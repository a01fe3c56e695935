import type { ManifestFacts } from "../domain/manifest-facts.ts";
import { OciError } from "../domain/oci-error.ts";
import type { ContentStore } from "../store/content-store.ts";
import type { Link } from "../store/link.ts";
import type { ManifestToStore, RepositoryStore } from "../store/repository-store.ts";
import type { Candidates } from "./candidates.ts";
import type { Guard } from "./guard.ts";
import type { Intents } from "./intents.ts";
import type { CollectionQueue } from "./queue.ts";
import { inGroups } from "./repository-reader.ts";

export interface ManifestPushesDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly guard: Guard;
  readonly intents: Intents;
  readonly candidates: Pick<Candidates, "mark">;
  readonly queue: CollectionQueue;
}

export interface ManifestPush {
  readonly bytes: Uint8Array;
  readonly manifest: ManifestToStore;
  readonly facts: Pick<ManifestFacts, "blobs" | "manifests" | "sizes">;
}

/** Makes manifests visible whose parts are there and stay there. */
export class ManifestPushes {
  readonly #deps: ManifestPushesDeps;

  constructor(deps: ManifestPushesDeps) {
    this.#deps = deps;
  }

  /**
   * Writes down what the manifest refers to, then looks whether somebody is deleting any of it, then whether it is
   * there: from the first of these on, no collector takes it away.
   * @throws OciError MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID where it says another size, and nothing was stored
   */
  async push(repository: string, { bytes, manifest, facts }: ManifestPush): Promise<void> {
    const { intents, guard, content, repositories, candidates, queue } = this.#deps;
    const parts = [...new Set([...facts.blobs, ...facts.manifests])];
    const digests = [manifest.digest, ...parts];
    await using intent = await intents.declare("pushing", { repository, digests });
    refuse(await guard.whenFree(repository, digests));
    refuse(await this.#missing(repository, facts));
    const takesTags = await this.#takesTags(repository, manifest);
    try {
      await content.put(bytes, manifest.digest);
      intent.assertInTime();
      await repositories.addManifest(repository, manifest);
    } catch (error) {
      // Collection looks whether anybody needs the content.
      await candidates.mark("", manifest.digest).catch(() => {});
      throw error;
    }
    await guard.referred(repository, digests);
    if (takesTags) await queue.add(repository);
  }

  /** Whether a tag moves here from another manifest, which may be nobody's then. */
  async #takesTags(repository: string, { digest, tags }: ManifestToStore): Promise<boolean> {
    const before = await Promise.all(tags.map((tag) => this.#deps.repositories.tag(repository, tag)));
    return before.some((tag) => tag !== undefined && tag.digest !== digest);
  }

  async #missing(repository: string, { blobs, manifests, sizes }: ManifestPush["facts"]): Promise<string[]> {
    const missing: string[] = [];
    const check = async (digest: string, link: Link | undefined) => {
      if (link === undefined) missing.push(digest);
      else if (link.sizeBytes !== sizes.get(digest)) throw misfit(digest);
    };
    const { repositories } = this.#deps;
    await inGroups([...new Set(blobs)], async (digest) => check(digest, await this.#blob(repository, digest)));
    await inGroups([...new Set(manifests)], async (digest) => {
      await check(digest, await repositories.link(repository, "_manifests", digest));
    });
    return missing;
  }

  /** A link whose content is lost is removed: whoever asks for the blob before a push is told to send it. */
  async #blob(repository: string, digest: string): Promise<Link | undefined> {
    const { repositories, content } = this.#deps;
    const link = await repositories.link(repository, "_blobs", digest);
    if (link === undefined || (await content.size(digest)) === link.sizeBytes) return link;
    await repositories.removeBlobs(repository, [digest]);
    return undefined;
  }
}

function misfit(digest: string): OciError {
  return new OciError("MANIFEST_INVALID", `${digest} has another size than the manifest says`);
}

function refuse(digests: readonly string[]): void {
  if (digests.length === 0) return;
  throw new OciError("MANIFEST_BLOB_UNKNOWN", `the repository lacks ${digests.slice(0, 10).join(", ")}`);
}
