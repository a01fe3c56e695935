/** What collection has to know of a manifest. */
export interface ManifestParts {
  readonly blobs: readonly string[];
  /** Of an index: the manifests that it lists. */
  readonly manifests: readonly string[];
  readonly subject?: string;
}

/** One repository at one moment. */
export interface RepositoryState {
  /** Tag to digest. */
  readonly tags: ReadonlyMap<string, string>;
  readonly manifests: ReadonlyMap<string, ManifestParts>;
  /** What pushes that are under way refer to. */
  readonly pushing: ReadonlySet<string>;
}

/**
 * Why something is kept: `tag`, `child` (of an index), `referrer` (of what its subject names), `lineage` (it is the
 * subject of something kept), `blob`, and `push`. `isLasting` is false where only an untagged manifest holds it,
 * which retention takes away some day.
 */
export interface KeepReason {
  readonly kind: "tag" | "push" | "child" | "referrer" | "lineage" | "blob";
  /** The tag, or the digest of the manifest; empty for a push. */
  readonly by: string;
  readonly isLasting: boolean;
}

/** What is kept and why, the first reason found of each; everything else in the repository is garbage. */
export type Kept = ReadonlyMap<string, KeepReason>;

/**
 * Follows tags and pushes to everything that they need: an index's children, referrers of what is kept, subjects for
 * lineage, blobs. Then what untagged manifests need, that are there as long as nobody has removed them: an answered
 * push must stay whole. Untagged manifests that nothing needs have no reason.
 */
export function reachable(state: RepositoryState): Kept {
  const kept = new Map<string, KeepReason>();
  const referrers = referrersOf(state.manifests);
  const todo: string[] = [];
  const keep = (digest: string, reason: KeepReason) => {
    if (kept.has(digest)) return;
    kept.set(digest, reason);
    if (state.manifests.has(digest)) todo.push(digest);
  };
  for (const [tag, digest] of state.tags) keep(digest, { kind: "tag", by: tag, isLasting: true });
  for (const digest of state.pushing) keep(digest, { kind: "push", by: "", isLasting: true });
  for (let digest = todo.pop(); digest !== undefined; digest = todo.pop()) {
    const by = digest;
    const parts = state.manifests.get(digest);
    keepParts(keep, { by, parts, isLasting: true });
    if (parts?.subject !== undefined && state.manifests.has(parts.subject)) {
      keep(parts.subject, { kind: "lineage", by, isLasting: true });
    }
    for (const referrer of referrers.get(digest) ?? []) keep(referrer, { kind: "referrer", by, isLasting: true });
  }
  for (const [by, parts] of state.manifests) keepParts(keep, { by, parts, isLasting: false });
  return kept;
}

type Keep = (digest: string, reason: KeepReason) => void;

interface Holder {
  readonly by: string;
  readonly parts: ManifestParts | undefined;
  readonly isLasting: boolean;
}

function keepParts(keep: Keep, { by, parts, isLasting }: Holder): void {
  for (const child of parts?.manifests ?? []) keep(child, { kind: "child", by, isLasting });
  for (const blob of parts?.blobs ?? []) keep(blob, { kind: "blob", by, isLasting });
}

function referrersOf(manifests: RepositoryState["manifests"]): Map<string, string[]> {
  const referrers = new Map<string, string[]>();
  for (const [digest, { subject }] of manifests) {
    if (subject !== undefined) referrers.set(subject, [...(referrers.get(subject) ?? []), digest]);
  }
  return referrers;
}
