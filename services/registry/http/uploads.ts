import { may } from "#libs/auth";
import { isRepository } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { type ByteRange, chunkRange, uploadRange } from "../domain/ranges.ts";
import type { UploadSession } from "../store/upload-sessions.ts";
import { checkedDigest } from "./blobs.ts";
import { answer, type Exchange, type OciDeps } from "./exchange.ts";

/** POST: begins an upload, takes a whole blob (`?digest=`), or mounts one (`?mount=`). */
export async function startUpload(deps: OciDeps, exchange: Exchange): Promise<void> {
  const { query, repository, request, principal } = exchange;
  refuseUnknownAlgorithm(query.get("digest-algorithm"));
  const mounted = query.get("mount");
  if (mounted !== null && (await mount(deps, exchange, checkedDigest(mounted)))) return answerStored(exchange, mounted);
  const digest = query.get("digest");
  if (digest !== null && mounted === null) {
    const announcedBytes = Number(request.headers["content-length"] ?? 0);
    await deps.uploads.receiveWhole(repository, checkedDigest(digest), request, announcedBytes);
    deps.holders.add(digest, repository);
    return answerStored(exchange, digest);
  }
  answerProgress(exchange, 202, await deps.uploads.start(repository, principal.name));
}

/** GET: how far an upload is. */
export async function getUpload({ uploads }: OciDeps, exchange: Exchange): Promise<void> {
  answerProgress(exchange, 204, await uploads.find(exchange.repository, exchange.reference));
}

/** PATCH: the next chunk, or a stream without Content-Range. */
export async function appendChunk({ uploads }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, request } = exchange;
  answerProgress(exchange, 202, await uploads.append(repository, reference, request, contentRange(exchange)));
}

/** PUT: the last chunk, if any, and the digest of the whole. */
export async function finishUpload({ uploads, holders }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, request, query } = exchange;
  const digest = checkedDigest(query.get("digest") ?? "");
  await uploads.finish(repository, reference, { digest, body: request, range: contentRange(exchange) });
  holders.add(digest, repository);
  answerStored(exchange, digest);
}

export async function cancelUpload({ uploads }: OciDeps, exchange: Exchange): Promise<void> {
  await uploads.cancel(exchange.repository, exchange.reference);
  answer(exchange, 204);
}

/** Links a blob that a repository has which the caller may read: the one that is named, or else any that is known. */
async function mount(deps: OciDeps, { query, principal, repository }: Exchange, digest: string): Promise<boolean> {
  const from = query.get("from");
  for (const source of from === null ? await deps.holders.of(digest) : [from]) {
    const isReadable = isRepository(source) && may(principal, "get", `repositories/${source}`);
    if (isReadable && (await mountFrom(deps, source, { repository, digest }))) return true;
  }
  return false;
}

async function mountFrom(
  { repositories, blobLinks, holders }: OciDeps,
  source: string,
  { repository, digest }: { readonly repository: string; readonly digest: string },
): Promise<boolean> {
  const link = await repositories.blob(source, digest);
  if (link === undefined) holders.forget(digest, source);
  if (link === undefined || !(await blobLinks.add(repository, digest, link.sizeBytes))) return false;
  holders.add(digest, repository);
  return true;
}

/** Which one an upload has is told by its last request; an unknown one is refused before any byte is sent. */
function refuseUnknownAlgorithm(algorithm: string | null): void {
  if (algorithm === null || algorithm === "sha256" || algorithm === "sha512") return;
  throw new OciError("DIGEST_INVALID", "digests are known by sha256 and sha512");
}

function contentRange({ request, repository, reference }: Exchange): ByteRange | undefined {
  const header = request.headers["content-range"];
  if (header === undefined) return undefined;
  const range = chunkRange(header);
  if (range !== undefined) return range;
  const headers = { location: `/v2/${repository}/blobs/uploads/${reference}` };
  throw new OciError("BLOB_UPLOAD_INVALID", "Content-Range must be <first>-<last>", { status: 416, headers });
}

/** Locations are relative, so that no proxy can make them wrong. */
function answerProgress(exchange: Exchange, status: number, { id, offset, repository }: UploadSession): void {
  answer(exchange, status, {
    location: `/v2/${repository}/blobs/uploads/${id}`,
    range: uploadRange(offset),
    "docker-upload-uuid": id,
  });
}

function answerStored(exchange: Exchange, digest: string): void {
  const location = `/v2/${exchange.repository}/blobs/${digest}`;
  answer(exchange, 201, { location, "docker-content-digest": digest });
}
