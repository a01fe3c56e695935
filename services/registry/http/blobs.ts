import { isDigest } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { type ByteRange, requestedRange } from "../domain/ranges.ts";
import { answer, type Exchange, type OciDeps, writeHead } from "./exchange.ts";

/** Content by digest never changes. */
export const IMMUTABLE = "private, max-age=31536000, immutable";

/** GET and HEAD of a blob, also of a part of it. */
export async function getBlob(deps: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, request, response } = exchange;
  const digest = checkedDigest(reference);
  const size = (await deps.repositories.blob(repository, digest))?.sizeBytes;
  if (size === undefined) throw unknownBlob();
  const headers = {
    "content-type": "application/octet-stream",
    "docker-content-digest": digest,
    etag: `"${digest}"`,
    "cache-control": IMMUTABLE,
    "accept-ranges": "bytes",
  };
  if (request.headers["if-none-match"] === headers.etag) return answer(exchange, 304, headers);
  const range = request.method === "HEAD" ? undefined : wantedRange(request.headers.range, size);
  const { first, last } = range ?? { first: 0, last: size - 1 };
  const part = range === undefined ? {} : { "content-range": `bytes ${first}-${last}/${size}` };
  const length = last - first + 1;
  const isWithoutBody = request.method === "HEAD" || length === 0;
  await using content = isWithoutBody ? undefined : await deps.content.open(digest, size);
  writeHead(response, range === undefined ? 200 : 206, { ...headers, ...part, "content-length": length });
  await content?.send({ offset: first, length }, response);
  response.end();
}

/** @throws OciError SIZE_INVALID (416) */
function wantedRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const range = requestedRange(header, sizeBytes);
  if (range !== "unsatisfiable") return range;
  const headers = { "content-range": `bytes */${sizeBytes}` };
  throw new OciError("SIZE_INVALID", `the blob has ${sizeBytes} bytes`, { status: 416, headers });
}

export async function deleteBlob({ removals, changes }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, principal } = exchange;
  const digest = checkedDigest(exchange.reference);
  if (!(await removals.blob(repository, digest))) throw unknownBlob();
  await changes.tell({ action: "deleted", repository, actor: principal.name, tags: [], digests: [digest] });
  answer(exchange, 202);
}

/** @throws OciError DIGEST_INVALID */
export function checkedDigest(text: string): string {
  if (isDigest(text)) return text;
  throw new OciError("DIGEST_INVALID", "the digest is malformed or of an unknown algorithm");
}

function unknownBlob(): OciError {
  return new OciError("BLOB_UNKNOWN", "the repository has no such blob");
}
