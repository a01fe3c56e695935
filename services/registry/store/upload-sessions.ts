import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { OciError } from "../domain/oci-error.ts";

export interface UploadSession {
  readonly id: string;
  readonly repository: string;
  /** The name of the principal that began it. */
  readonly owner: string;
  /** Bytes that are committed, in the pieces. */
  readonly offset: number;
  /** Keys of the objects that hold them, in order. */
  readonly pieces: readonly string[];
  /** Of the blob that the upload has become. */
  readonly digest?: string;
}

/** A finished upload is remembered for so long, for the client that repeats its last request. */
const FINISHED_FOR_MS = 600_000;

/**
 * KEYS[1] session; ARGV[1] offset before, [2] offset after, [3] key of the piece between them or "", [4] ttl in ms. May
 * be repeated: keys of pieces are unique.
 */
const ADVANCE = `
local offset, pieces, digest = unpack(redis.call("HMGET", KEYS[1], "offset", "pieces", "digest"))
if digest or not offset then return 0 end
if ARGV[3] ~= "" and string.sub(pieces, -#ARGV[3]) == ARGV[3] then return 1 end
if offset ~= ARGV[1] then return 0 end
if ARGV[3] ~= "" then pieces = (pieces == "" and "" or pieces .. " ") .. ARGV[3] end
redis.call("HSET", KEYS[1], "offset", ARGV[2], "pieces", pieces)
redis.call("PEXPIRE", KEYS[1], ARGV[4])
return 1`;

/** KEYS[1] session; ARGV[1] digest, [2] ttl in ms. */
const FINISH = `
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
redis.call("HSET", KEYS[1], "digest", ARGV[1])
return redis.call("PEXPIRE", KEYS[1], ARGV[2])`;

const ATTEMPTS = 4;

const keyOf = (id: string) => `{upload:${id}}`;

/**
 * The uploads that are under way, one hash in Redis each, so that any replica takes any chunk: chunks are committed by
 * compare-and-set of the offset, and of two that follow the same byte one is refused. An idle session runs out. A lost
 * Redis loses the open uploads and nothing else.
 */
export class UploadSessions {
  readonly #redis: Redis;
  readonly #ttlMs: number;

  constructor(redis: Redis, { ttlMs }: { ttlMs: number }) {
    this.#redis = redis;
    this.#ttlMs = ttlMs;
  }

  async start(repository: string, owner = ""): Promise<UploadSession> {
    const id = randomUUID();
    await answered(() =>
      this.#redis
        .multi()
        .hset(keyOf(id), { repository, owner, offset: 0, pieces: "" })
        .pexpire(keyOf(id), this.#ttlMs)
        .exec(),
    );
    return { id, repository, owner, offset: 0, pieces: [] };
  }

  /** Undefined when there is none of that id in that repository. */
  async find(repository: string, id: string): Promise<UploadSession | undefined> {
    if (!/^[0-9a-f-]{36}$/.test(id)) return undefined;
    const { offset, pieces = "", owner = "", digest, ...found } = await answered(() => this.#redis.hgetall(keyOf(id)));
    if (offset === undefined || found.repository !== repository) return undefined;
    const keys = pieces === "" ? [] : pieces.split(" ");
    return { id, repository, owner, offset: Number(offset), pieces: keys, ...(digest !== undefined && { digest }) };
  }

  /** Commits a piece, if the session still stands where `session` says; else undefined. */
  async advance(session: UploadSession, piece: { key: string; sizeBytes: number }): Promise<UploadSession | undefined> {
    const offset = session.offset + piece.sizeBytes;
    const key = piece.sizeBytes === 0 ? "" : piece.key;
    const args = [session.offset, offset, key, this.#ttlMs];
    const done = await answered(() => this.#redis.eval(ADVANCE, 1, keyOf(session.id), ...args));
    return done === 1
      ? { ...session, offset, pieces: key === "" ? session.pieces : [...session.pieces, key] }
      : undefined;
  }

  /** Keeps a session whose chunk is long in coming. */
  async touch(id: string): Promise<void> {
    await answered(() => this.#redis.pexpire(keyOf(id), this.#ttlMs));
  }

  /** Remembers for a while what the upload has become. */
  async finish(id: string, digest: string): Promise<void> {
    await answered(() => this.#redis.eval(FINISH, 1, keyOf(id), digest, FINISHED_FOR_MS));
  }

  async remove(id: string): Promise<void> {
    await answered(() => this.#redis.del(keyOf(id)));
  }

  async isOpen(id: string): Promise<boolean> {
    const [exists, isFinished] = await answered(() =>
      Promise.all([this.#redis.exists(keyOf(id)), this.#redis.hexists(keyOf(id), "digest")]),
    );
    return exists === 1 && isFinished === 0;
  }
}

/** Asks a few times, since a process that is busy may miss an answer: whatever is asked may be asked again. */
async function answered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (cause) {
      if (attempt < ATTEMPTS) continue;
      throw new OciError("UNAVAILABLE", "Redis does not answer: uploads have to wait", { cause });
    }
  }
}
