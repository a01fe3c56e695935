import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parseDigest } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { type ByteRange, uploadRange } from "../domain/ranges.ts";
import type { ContentStore } from "./content-store.ts";
import type { DurableFolder } from "./durable-folder.ts";
import { KeyedLock } from "./keyed-lock.ts";
import { receive } from "./receive.ts";
import type { RepositoryStore } from "./repository-store.ts";
import type { UploadSession, UploadSessions } from "./upload-sessions.ts";

export interface UploadsDeps {
  readonly files: DurableFolder;
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly sessions: UploadSessions;
  readonly maxBlobBytes: number;
}

/** A hash of the first bytes of an upload, kept while this process serves it. */
interface RunningHash {
  readonly hash: Hash;
  readonly offset: number;
}

/** Takes blobs in. A blob is visible once its whole content has the digest that was asked for and is on disk. */
export class Uploads {
  readonly #deps: UploadsDeps;
  readonly #turns = new KeyedLock();
  readonly #hashes = new Map<string, RunningHash>();

  constructor(deps: UploadsDeps) {
    this.#deps = deps;
  }

  /** Takes a whole blob at once. @throws OciError DIGEST_INVALID, SIZE_INVALID */
  async receiveWhole(repository: string, digest: string, body: Readable): Promise<void> {
    const { files, content, repositories, maxBlobBytes } = this.#deps;
    const temporary = files.temporaryPath();
    try {
      const hash = createHash(algorithmOf(digest));
      const size = await receiveInto(temporary, { body, hash, position: 0, maxBytes: maxBlobBytes });
      refuseOtherContent(hash, digest);
      await content.adopt(temporary, digest, size);
      await repositories.addBlob(repository, digest);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async start(repository: string): Promise<UploadSession> {
    return await this.#deps.sessions.start(repository);
  }

  /** @throws OciError BLOB_UPLOAD_UNKNOWN */
  async find(repository: string, id: string): Promise<UploadSession> {
    const session = await this.#deps.sessions.find(repository, id);
    if (session === undefined) throw new OciError("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
    return session;
  }

  /**
   * Adds a chunk. One that is cut off counts for nothing, and the session stays.
   * @param range where the client says that it belongs; at the end when left out
   * @throws OciError BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID (416) when it does not follow the last one
   */
  async append(repository: string, id: string, body: Readable, range?: ByteRange): Promise<UploadSession> {
    return await this.#turns.hold(id, async () => {
      return await this.#append(await this.find(repository, id), body, range);
    });
  }

  /** Adds the last chunk, which may be empty, and makes the blob visible. @throws OciError DIGEST_INVALID */
  async finish(
    repository: string,
    id: string,
    { digest, body, range }: { digest: string; body: Readable; range?: ByteRange | undefined },
  ): Promise<void> {
    await this.#turns.hold(id, async () => {
      const { content, repositories } = this.#deps;
      const session = await this.#append(await this.find(repository, id), body, range);
      const data = this.#dataPath(id);
      try {
        refuseOtherContent(await this.#hash(session, digest), digest);
        await content.adopt(data, digest, session.offset);
        await repositories.addBlob(repository, digest);
      } finally {
        await this.#remove(id);
      }
    });
  }

  /** @throws OciError BLOB_UPLOAD_UNKNOWN */
  async cancel(repository: string, id: string): Promise<void> {
    await this.find(repository, id);
    await this.#turns.hold(id, () => this.#remove(id));
  }

  /** Forgets uploads that nothing has happened to since, and files in the making that nobody finished. */
  async expire(before: Date): Promise<void> {
    for (const id of await this.#deps.sessions.idleSince(before)) await this.#turns.hold(id, () => this.#remove(id));
    await this.#deps.files.clearTemporary(before);
  }

  async #append(session: UploadSession, body: Readable, range?: ByteRange): Promise<UploadSession> {
    const { sessions, maxBlobBytes } = this.#deps;
    if (range !== undefined && range.first !== session.offset) throw outOfOrder(session);
    const running = this.#hashes.get(session.id);
    const isCurrent = running?.offset === session.offset;
    const hash = isCurrent ? running.hash.copy() : createHash("sha256");
    const { id, offset } = session;
    const path = this.#dataPath(id);
    const size = await receiveInto(path, { body, hash, position: offset, maxBytes: maxBlobBytes - offset });
    if (range !== undefined && size !== range.last - range.first + 1) {
      throw new OciError("SIZE_INVALID", "the chunk is not as long as its Content-Range says");
    }
    const advanced = await sessions.advance(session, offset, offset + size);
    if (advanced === undefined) throw outOfOrder(await this.find(session.repository, id));
    if (isCurrent || offset === 0) this.#hashes.set(id, { hash, offset: advanced.offset });
    return advanced;
  }

  /** The running hash, or where there is none that fits a new one over the stored bytes. */
  async #hash({ id, offset }: UploadSession, digest: string): Promise<Hash> {
    const algorithm = algorithmOf(digest);
    const running = this.#hashes.get(id);
    if (algorithm === "sha256" && running?.offset === offset) return running.hash;
    const hash = createHash(algorithm);
    await pipeline(createReadStream(this.#dataPath(id), { highWaterMark: 2 ** 20 }), hash);
    return hash;
  }

  async #remove(id: string): Promise<void> {
    this.#hashes.delete(id);
    await this.#deps.sessions.remove(id);
  }

  #dataPath(id: string): string {
    return this.#deps.files.path("uploads", id, "data");
  }
}

interface Incoming {
  readonly body: Readable;
  readonly hash: Hash;
  readonly position: number;
  readonly maxBytes: number;
}

/** Cuts the file at `position`, receives from there on, and syncs. */
async function receiveInto(path: string, { position, ...incoming }: Incoming): Promise<number> {
  await using file = await open(path, position === 0 ? "w" : "r+", 0o600);
  await file.truncate(position);
  const size = await receive(incoming.body, { ...incoming, file, position });
  await file.datasync();
  const onDisk = (await file.stat()).size;
  if (onDisk !== position + size) throw new Error(`${path} has ${onDisk} bytes instead of ${position + size}`);
  return size;
}

function algorithmOf(digest: string): string {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new OciError("DIGEST_INVALID", "the digest is malformed or of an unknown algorithm");
  return parts.algorithm;
}

function refuseOtherContent(hash: Hash, digest: string): void {
  if (hash.digest("hex") === parseDigest(digest)?.hex) return;
  throw new OciError("DIGEST_INVALID", "the content does not have the digest that was asked for");
}

function outOfOrder({ repository, id, offset }: UploadSession): OciError {
  return new OciError("BLOB_UPLOAD_INVALID", `the next byte of this upload is ${offset}`, {
    status: 416,
    headers: { location: `/v2/${repository}/blobs/uploads/${id}`, range: uploadRange(offset) },
  });
}
