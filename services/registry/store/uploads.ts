import { createHash, type Hash, randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { LRUCache } from "lru-cache";
import type { Clock } from "#libs/clock";
import type { BlobLinks } from "../collect/blob-links.ts";
import type { Candidates } from "../collect/candidates.ts";
import { OciError } from "../domain/oci-error.ts";
import { type ByteRange, uploadRange } from "../domain/ranges.ts";
import type { ContentStore } from "./content-store.ts";
import { hashFor, Intake, refuseOtherContent } from "./intake.ts";
import { keys, uploadOf } from "./keys.ts";
import type { ObjectStore } from "./object-store.ts";
import type { RepositoryStore } from "./repository-store.ts";
import type { UploadSession, UploadSessions } from "./upload-sessions.ts";

export interface UploadsDeps {
  readonly objects: ObjectStore;
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly blobLinks: BlobLinks;
  readonly candidates: Pick<Candidates, "mark">;
  readonly sessions: UploadSessions;
  readonly maxBlobBytes: number;
  readonly clock: Clock;
}

/** A hash of the first bytes of an upload, kept while this process serves it. */
interface RunningHash {
  readonly hash: Hash;
  readonly offset: number;
}

/** What a client says of the last request of an upload. */
export interface LastChunk {
  readonly digest: string;
  readonly body: Readable;
  readonly range?: ByteRange | undefined;
}

const KEPT_HASHES = 4_096;
const TOUCH_EVERY_MS = 60_000;

/**
 * Takes blobs in. Each chunk becomes an object of its own, a piece, under a name that nobody else uses; what counts is
 * the session's list of them. So nothing is written twice, a chunk that was cut off or came too late counts for
 * nothing, and replicas need no lock. A blob is visible once its whole content has the digest that was asked for.
 */
export class Uploads {
  readonly #deps: UploadsDeps;
  readonly #hashes = new LRUCache<string, RunningHash>({ max: KEPT_HASHES });

  constructor(deps: UploadsDeps) {
    this.#deps = deps;
  }

  /**
   * Takes a whole blob at once.
   * @param announcedBytes how long the client says that it is, if it does
   * @throws OciError DIGEST_INVALID, SIZE_INVALID, DENIED
   */
  async receiveWhole(repository: string, digest: string, body: Readable, announcedBytes = 0): Promise<void> {
    const { content, repositories, maxBlobBytes } = this.#deps;
    await repositories.refuseBeyond(repository, digest, announcedBytes);
    const hash = hashFor(digest);
    using intake = new Intake(body, { hash, maxBytes: maxBlobBytes });
    const size = await content.receive(digest, intake, () => refuseOtherContent(hash, digest));
    await this.#link(repository, digest, size);
  }

  /** @param owner the name of the principal that begins it */
  async start(repository: string, owner?: string): Promise<UploadSession> {
    return await this.#deps.sessions.start(repository, owner);
  }

  /** Who began an upload that is open, or finished a moment ago; undefined when there is none. */
  async owner(repository: string, id: string): Promise<string | undefined> {
    return (await this.#deps.sessions.find(repository, id))?.owner;
  }

  /** @throws OciError BLOB_UPLOAD_UNKNOWN */
  async find(repository: string, id: string): Promise<UploadSession> {
    const session = await this.#deps.sessions.find(repository, id);
    if (session === undefined || session.digest !== undefined) throw unknownUpload();
    return session;
  }

  /**
   * Adds a chunk. One that is cut off counts for nothing, and the session stays.
   * @param range where the client says that it belongs; at the end when left out
   * @throws OciError BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID (416) when it does not follow the last one
   */
  async append(repository: string, id: string, body: Readable, range?: ByteRange): Promise<UploadSession> {
    return await this.#append(await this.find(repository, id), body, range);
  }

  /**
   * Adds the last chunk, which may be empty, and makes the blob visible. May be repeated. After a failure of the store
   * the session is still there.
   * @throws OciError DIGEST_INVALID, DENIED when there is no room for it, and the upload is gone
   */
  async finish(repository: string, id: string, { digest, body, range }: LastChunk): Promise<void> {
    const { content, repositories, blobLinks, sessions } = this.#deps;
    const found = await sessions.find(repository, id);
    if (found?.digest === digest && (await repositories.blob(repository, digest)) !== undefined) return;
    if (found === undefined || found.digest !== undefined) throw unknownUpload();
    const session = await this.#append(found, body, range);
    try {
      refuseOtherContent(await this.#hash(session, digest), digest);
      await repositories.refuseBeyond(repository, digest, session.offset);
    } catch (error) {
      await this.#remove(session);
      throw error;
    }
    await blobLinks.whenFree(repository, digest);
    await content.assemble(session.pieces, digest, session.offset);
    await this.#link(repository, digest, session.offset);
    await sessions.finish(id, digest);
    this.#hashes.delete(id);
  }

  /** @throws OciError BLOB_UPLOAD_UNKNOWN */
  async cancel(repository: string, id: string): Promise<void> {
    await this.#remove(await this.find(repository, id));
  }

  /** Removes what was written before then and belongs to no upload that is open, and what nobody finished. */
  async expire(before: Date): Promise<void> {
    const { objects, sessions } = this.#deps;
    for await (const key of objects.listBefore(keys.pieces, before)) {
      if (!(await sessions.isOpen(uploadOf(key)))) await objects.delete([key]);
    }
    await objects.sweep(before);
  }

  async #append(session: UploadSession, body: Readable, range?: ByteRange): Promise<UploadSession> {
    const { sessions, objects } = this.#deps;
    const { id, offset } = session;
    if (range !== undefined && range.first !== offset) throw outOfOrder(session);
    const hash = this.#hashFrom(session);
    using intake = this.#intake(session, body, hash);
    const key = keys.piece(id, `${offset}-${randomUUID()}`);
    const refuseOtherLength = () => {
      if (range === undefined || intake.sizeBytes === range.last - range.first + 1) return;
      throw new OciError("SIZE_INVALID", "the chunk is not as long as its Content-Range says");
    };
    if (await intake.isOver()) refuseOtherLength();
    else await objects.receive(key, intake, refuseOtherLength);
    const advanced = await sessions.advance(session, { key, sizeBytes: intake.sizeBytes });
    if (advanced === undefined) {
      await objects.delete([key]);
      throw outOfOrder(await this.find(session.repository, id));
    }
    if (hash !== undefined) this.#hashes.set(id, { hash, offset: advanced.offset });
    return advanced;
  }

  #intake({ id, offset }: UploadSession, body: Readable, hash: Hash | undefined): Intake {
    const { clock, sessions, maxBlobBytes } = this.#deps;
    let touchedMs = clock.monotonicMs();
    const onProgress = () => {
      if (clock.monotonicMs() - touchedMs < TOUCH_EVERY_MS) return;
      touchedMs = clock.monotonicMs();
      // One that is missed is made up for by the next.
      sessions.touch(id).catch(() => {});
    };
    return new Intake(body, { hash, maxBytes: maxBlobBytes - offset, onProgress });
  }

  /** A hash of all bytes so far that may be fed further; none when another process has taken some of them. */
  #hashFrom({ id, offset }: UploadSession): Hash | undefined {
    if (offset === 0) return createHash("sha256");
    const running = this.#hashes.get(id);
    return running?.offset === offset ? running.hash.copy() : undefined;
  }

  /** The running hash, or where there is none that fits a new one over the stored bytes. */
  async #hash({ id, offset, pieces }: UploadSession, digest: string): Promise<Hash> {
    const running = this.#hashes.get(id);
    if (digest.startsWith("sha256:") && running?.offset === offset) return running.hash.copy();
    const hash = hashFor(digest);
    for (const key of pieces) {
      await using object = await this.#deps.objects.open(key);
      if (object === undefined) throw unknownUpload();
      for await (const bytes of object.pieces()) hash.update(bytes);
    }
    return hash;
  }

  /** When it fails, collection looks whether anybody needs the content. */
  async #link(repository: string, digest: string, sizeBytes: number): Promise<void> {
    const { blobLinks, candidates } = this.#deps;
    try {
      if (await blobLinks.add(repository, digest, sizeBytes)) return;
    } catch (error) {
      await candidates.mark("", digest).catch(() => {});
      throw error;
    }
    throw new OciError("UNKNOWN", "the blob was being collected at this very moment: send it again", { status: 503 });
  }

  async #remove({ id, pieces }: UploadSession): Promise<void> {
    this.#hashes.delete(id);
    await this.#deps.sessions.remove(id);
    await this.#deps.objects.delete(pieces);
  }
}

function unknownUpload(): OciError {
  return new OciError("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
}

function outOfOrder({ repository, id, offset }: UploadSession): OciError {
  return new OciError("BLOB_UPLOAD_INVALID", `the next byte of this upload is ${offset}`, {
    status: 416,
    headers: { location: `/v2/${repository}/blobs/uploads/${id}`, range: uploadRange(offset) },
  });
}
