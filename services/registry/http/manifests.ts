import type { IncomingMessage } from "node:http";
import { type Digest, digestOf, isDigest, isTag, parseDigest } from "#libs/oci";
import { type ManifestFacts, readManifest } from "../domain/manifest-facts.ts";
import { OciError } from "../domain/oci-error.ts";
import type { ManifestToStore } from "../store/repository-store.ts";
import { IMMUTABLE } from "./blobs.ts";
import { answer, type Exchange, endWith, type OciDeps, writeHead } from "./exchange.ts";

const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
const MAX_TAGS = 100;
/** Images have fewer layers; the chunks of disks are not mounted without a source. */
const HINTED_BLOBS = 128;

/** GET and HEAD of a manifest by tag or digest, byte for byte as it came. */
export async function getManifest({ repositories, content, pulls }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, request, response, principal } = exchange;
  const isFixed = reference.includes(":");
  const digest = isFixed ? reference : (await repositories.tag(repository, checkedTag(reference)))?.digest;
  const stored = digest !== undefined && isDigest(digest) ? await repositories.manifest(repository, digest) : undefined;
  if (stored === undefined) throw unknownManifest();
  if (request.method === "GET") {
    pulls.count({ repository, digest: stored.digest, tag: isFixed ? "" : reference, actor: principal.name });
  }
  const headers = {
    "content-type": stored.mediaType,
    "docker-content-digest": stored.digest,
    etag: `"${stored.digest}"`,
    "cache-control": isFixed ? IMMUTABLE : "no-cache",
  };
  if (request.headers["if-none-match"] === headers.etag) return answer(exchange, 304, headers);
  const bytes = await content.read(stored.digest);
  writeHead(response, 200, { ...headers, "content-length": bytes.length });
  endWith(exchange, bytes);
}

/** PUT of a manifest by tag, or by digest with any number of `?tag=`. All that it needs must be here. */
export async function putManifest(deps: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, request, principal } = exchange;
  const tags = reference.includes(":") ? exchange.query.getAll("tag") : [reference];
  if (tags.length > MAX_TAGS) throw new OciError("MANIFEST_INVALID", `at most ${MAX_TAGS} tags at a time`);
  for (const tag of tags) checkedTag(tag);
  const bytes = await readBody(request);
  const digest = digestFor(reference, bytes);
  const facts = readManifest(bytes, contentType(request));
  refuseMalformed(facts);
  const manifest = toStore({ digest, tags, sizeBytes: bytes.length }, facts);
  await deps.manifestPushes.push(repository, { bytes, manifest, facts });
  for (const blob of facts.blobs.slice(0, HINTED_BLOBS)) deps.holders.add(blob, repository);
  const { mediaType, sizeBytes } = manifest;
  const pushed = { actor: principal.name, tags, digests: [digest], mediaType, sizeBytes };
  await deps.changes.tell({ action: "pushed", repository, ...pushed });
  answer(exchange, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    "docker-content-digest": digest,
    ...(facts.subject !== undefined && { "oci-subject": facts.subject }),
    ...(reference.includes(":") && tags.length > 0 && { "oci-tag": tags }),
  });
}

/** DELETE: a tag alone, or by digest the manifest with all its tags. */
export async function deleteManifest({ removals, changes }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, principal } = exchange;
  const isTagAlone = !reference.includes(":");
  if (!isTagAlone && !isDigest(reference)) throw unknownManifest();
  const wasThere = isTagAlone
    ? await removals.tag(repository, checkedTag(reference))
    : await removals.manifest(repository, reference);
  if (!wasThere) throw unknownManifest();
  const removed = isTagAlone ? { tags: [reference], digests: [] } : { tags: [], digests: [reference] };
  await changes.tell({ action: "deleted", repository, actor: principal.name, ...removed });
  answer(exchange, 202);
}

function toStore(sent: { digest: Digest; tags: string[]; sizeBytes: number }, facts: ManifestFacts): ManifestToStore {
  const { mediaType, artifactType, annotations, subject } = facts;
  if (subject === undefined) return { ...sent, mediaType };
  const descriptor = { mediaType, digest: sent.digest, size: sent.sizeBytes, artifactType, annotations };
  return { ...sent, mediaType, referrer: { subject, descriptor } };
}

function refuseMalformed(facts: ManifestFacts): void {
  const digests = [...facts.blobs, ...facts.manifests, ...(facts.subject === undefined ? [] : [facts.subject])];
  for (const digest of digests) if (!isDigest(digest)) throw invalidDigest(digest);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MAX_MANIFEST_BYTES) {
      throw new OciError("SIZE_INVALID", `a manifest may have ${MAX_MANIFEST_BYTES} bytes`, { status: 413 });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

/** The digest that the client uses, or sha256 for a tag. @throws OciError DIGEST_INVALID */
function digestFor(reference: string, bytes: Buffer): Digest {
  if (!reference.includes(":")) return digestOf(bytes);
  const parts = parseDigest(reference);
  if (parts === undefined) throw invalidDigest(reference);
  if (digestOf(bytes, parts.algorithm) === reference) return reference;
  throw new OciError("DIGEST_INVALID", "the manifest does not have the digest that was asked for");
}

function contentType(request: IncomingMessage): string | undefined {
  return request.headers["content-type"]?.split(";")[0]?.trim();
}

/** A tag that cannot exist is not found on a GET, and refused on a PUT, both as MANIFEST_INVALID or unknown. */
function checkedTag(tag: string): string {
  if (isTag(tag)) return tag;
  throw new OciError("MANIFEST_INVALID", "that is no tag");
}

function invalidDigest(digest: string): OciError {
  return new OciError("DIGEST_INVALID", `${digest} is malformed or of an unknown algorithm`);
}

function unknownManifest(): OciError {
  return new OciError("MANIFEST_UNKNOWN", "the repository has no such manifest");
}
