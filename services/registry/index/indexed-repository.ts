/** What lists show of a manifest, and what it needs. */
export interface IndexedManifest {
  readonly artifactType: string;
  readonly mediaType: string;
  readonly virtualSizeBytes: number;
  readonly pushTime: Date;
  /** Manifests that an index lists. */
  readonly children: readonly string[];
  /** Its own blobs: the first digits of a digest as a number, and the size in bytes, in turns. */
  readonly blobs: Float64Array;
}

export interface IndexedTag {
  readonly digest: string;
  readonly pushTime: Date;
}

/** A repository as the index knows it. */
export class IndexedRepository {
  readonly tags = new Map<string, IndexedTag>();
  readonly manifests = new Map<string, IndexedManifest>();
  #order: readonly string[] | undefined;

  setTag(tag: string, facts: IndexedTag | undefined): void {
    if (facts === undefined) this.tags.delete(tag);
    else this.tags.set(tag, facts);
    this.#order = undefined;
  }

  /** Its tags in the order of their code units. */
  tagsInOrder(): readonly string[] {
    this.#order ??= [...this.tags.keys()].sort();
    return this.#order;
  }

  /** The blobs that a manifest needs, with those of its children: key to size in bytes, and how many need each. */
  blobsOf(digest: string, into = new Map<number, { bytes: number; needs: number }>()) {
    const manifest = this.manifests.get(digest);
    for (const child of manifest?.children ?? []) this.blobsOf(child, into);
    const blobs = manifest?.blobs ?? new Float64Array();
    for (let place = 0; place < blobs.length; place += 2) {
      const [key = 0, bytes = 0] = blobs.subarray(place, place + 2);
      into.set(key, { bytes, needs: (into.get(key)?.needs ?? 0) + 1 });
    }
    return into;
  }
}

/** 48 bits of a digest: enough to tell blobs apart for people who look at sizes. */
export function blobKey(digest: string): number {
  return Number.parseInt(digest.slice(digest.indexOf(":") + 1).slice(0, 12), 16);
}

/** The place of the first name that is not before `name`. */
export function placeOf(names: readonly string[], name: string): number {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] ?? "") < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
