import { parseDigest } from "#libs/oci";

/** What a repository has of its own; no component of a repository's name begins with an underscore. */
export type LinkKind = "_blobs" | "_manifests";

/**
 * The keys of everything that the registry stores:
 *
 * - `blobs/<algorithm>/<ab>/<hex>`: content, of all repositories
 * - `repositories/<name>/_blobs/<algorithm>/<hex>`, `…/_manifests/…`: that the repository has it (`Link`)
 * - `repositories/<name>/_tags/<tag>`: a digest
 * - `repositories/<name>/_tagged/<digest>.<tag>`: that the tag has named the digest, and may still
 * - `repositories/<name>/_referrers/<subject>/<digest>`: a descriptor
 * - `catalog/<name>`: that there may be such a repository, `/` written as `!`
 * - `uploads/<id>.<piece>`: pieces of uploads that are under way
 * - `known/<name>`: the same of one that may have blobs alone
 * - `collect/pushing/<id>`, `collect/deleting/<id>`: what somebody is about to do
 * - `collect/candidates/<name>/<algorithm>-<hex>`: since when nothing refers to it; `!content` for content itself
 * - `collect/queue/<name>/<when>-<id>`: that collection should look at a repository
 * - `outbox/<id>`: an event that is not published yet
 * - `collect/verified`: written when everything was looked at
 * - `reserve/<n>`: nothing, for its size
 */
export const keys = {
  contents: "blobs/",
  content: (digest: string) => {
    const { algorithm, hex } = partsOf(digest);
    return `${keys.contents}${algorithm}/${hex.slice(0, 2)}/${hex}`;
  },
  links: (repository: string, kind: LinkKind) => `repositories/${repository}/${kind}/`,
  link: (repository: string, kind: LinkKind, digest: string) => {
    const { algorithm, hex } = partsOf(digest);
    return `${keys.links(repository, kind)}${algorithm}/${hex}`;
  },
  /** Everything of a repository, and nothing of those whose names go on after its own. */
  repository: (repository: string) => `repositories/${repository}/_`,
  tags: (repository: string) => `repositories/${repository}/_tags/`,
  tag: (repository: string, tag: string) => `${keys.tags(repository)}${tag}`,
  taggings: (repository: string, digest: string) => `repositories/${repository}/_tagged/${nameOf(digest)}.`,
  tagging: (repository: string, digest: string, tag: string) => `${keys.taggings(repository, digest)}${tag}`,
  referrers: (repository: string, subject: string) => `repositories/${repository}/_referrers/${nameOf(subject)}/`,
  referrer: (repository: string, subject: string, digest: string) =>
    `${keys.referrers(repository, subject)}${nameOf(digest)}`,
  intents: (kind: string) => `collect/${kind}/`,
  intent: (kind: string, id: string) => `collect/${kind}/${id}`,
  candidates: (scope: string) => `collect/candidates/${scopeName(scope)}/`,
  candidate: (scope: string, digest: string) => `${keys.candidates(scope)}${nameOf(digest)}`,
  verified: "collect/verified",
  outboxes: "outbox/",
  outbox: (id: string) => `outbox/${id}`,
  queues: "collect/queue/",
  queued: (repository: string, id: string) => `${keys.queues}${scopeName(repository)}/${id}`,
  known: (repository: string) => `known/${repository.replaceAll("/", "!")}`,
  catalog: (repository: string) => `catalog/${repository.replaceAll("/", "!")}`,
  reserves: "reserve/",
  reserve: (place: number) => `${keys.reserves}${place}`,
  pieces: "uploads/",
  piece: (uploadId: string, piece: string) => `${keys.pieces}${uploadId}.${piece}`,
};

/** The repository of a catalog's key. */
export function repositoryOf(catalogKey: string): string {
  return catalogKey.slice(catalogKey.indexOf("/") + 1).replaceAll("!", "/");
}

/** The digest of a link's key. */
export function digestOfLink(linkKey: string): string {
  return linkKey.split("/").slice(-2).join(":");
}

/** The upload that a piece's key belongs to. */
export function uploadOf(pieceKey: string): string {
  return pieceKey.slice(keys.pieces.length).split(".")[0] ?? "";
}

/** The digest of content's key. */
export function digestOfContent(key: string): string {
  const [, algorithm, , hex] = key.split("/");
  return `${algorithm}:${hex}`;
}

/** The digest that a candidate's key ends with. */
export function digestOfCandidate(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1).replace("-", ":");
}

/** The repository of a queued key. */
export function repositoryOfQueued(key: string): string {
  return (key.split("/")[2] ?? "").replaceAll("!", "/");
}

/** One component for a repository's name; content itself has none. */
function scopeName(scope: string): string {
  return scope === "" ? "!content" : scope.replaceAll("/", "!");
}

function partsOf(digest: string): { algorithm: string; hex: string } {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new Error(`not a digest: ${digest}`);
  return parts;
}

function nameOf(digest: string): string {
  return digest.replace(":", "-");
}
