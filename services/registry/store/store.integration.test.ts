import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { digestOf } from "#libs/oci";
import { startRedis, type TestServer, temporaryFolder } from "#libs/testing";
import { FsObjects } from "./fs-objects.ts";
import { openStore } from "./open-store.ts";
import { UploadSessions } from "./upload-sessions.ts";

const lifecycle = new Lifecycle();
let server: TestServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ REDIS_URL: server.url }, lifecycle);
});

afterAll(async () => {
  await lifecycle.close();
  await server[Symbol.asyncDispose]();
});

/** One replica over a folder. */
async function replica(path: string) {
  const sessions = new UploadSessions(redis, { ttlMs: 60_000 });
  const objects = await FsObjects.open(path);
  return openStore({
    objects,
    sessions,
    maxBlobBytes: 10_000_000,
    clock: systemClock,
    random: systemRandom,
    graceMs: 1,
  });
}

const stream = (bytes: Uint8Array) => Readable.from([Buffer.from(bytes)]);
const empty = () => Readable.from([]);
const soon = () => new Date(Date.now() + 5_000);

describe("uploads", () => {
  it("go on at any replica, chunk by chunk, and are read again where one lacks the hash", async () => {
    await using folder = temporaryFolder();
    const replicas = [await replica(folder.path), await replica(folder.path)] as const;
    const blob = randomBytes(100_000);
    const { id } = await replicas[0].uploads.start("a");
    for (let chunk = 0; chunk < 10; chunk += 1) {
      const [first, last] = [chunk * 10_000, chunk * 10_000 + 9_999];
      const { uploads } = replicas[chunk % 2 === 0 ? 0 : 1];
      const { offset } = await uploads.append("a", id, stream(blob.subarray(first, last + 1)), { first, last });
      expect(offset).toBe(last + 1);
    }
    const digest = digestOf(blob);
    await replicas[1].uploads.finish("a", id, { digest, body: empty() });
    expect((await replicas[0].content.read(digest)).equals(blob)).toBe(true);
    expect(await replicas[0].repositories.blob("a", digest)).toEqual({ sizeBytes: 100_000 });
    await replicas[0].uploads.finish("a", id, { digest, body: empty() });
    await expect(replicas[0].uploads.find("a", id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
  });

  it("take one of many writers of the same chunk, and tell the others where the session stands", async () => {
    await using folder = temporaryFolder();
    const replicas = [await replica(folder.path), await replica(folder.path)] as const;
    const { id } = await replicas[0].uploads.start("a");
    const writes = Array.from({ length: 8 }, (_, place) =>
      replicas[place % 2 === 0 ? 0 : 1].uploads.append("a", id, stream(Buffer.alloc(1_000, place))),
    );
    const settled = await Promise.allSettled(writes);
    const winner = settled.findIndex(({ status }) => status === "fulfilled");
    for (const [place, one] of settled.entries()) {
      if (place === winner) continue;
      expect(one).toMatchObject({ reason: { status: 416, headers: { range: "0-999" } } });
    }
    const digest = digestOf(Buffer.alloc(1_000, winner));
    await Promise.all(replicas.map(({ uploads }) => uploads.finish("a", id, { digest, body: empty() })));
    expect((await replicas[0].content.read(digest))[0]).toBe(winner);
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
  });

  it("belong to one repository", async () => {
    await using folder = temporaryFolder();
    const { uploads } = await replica(folder.path);
    const { id } = await uploads.start("a");
    await expect(uploads.find("b", id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    await expect(uploads.find("a", "../../a")).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
  });

  it("expire when they are idle; what is open stays, however old its first chunk", async () => {
    await using folder = temporaryFolder();
    const { uploads } = await replica(folder.path);
    const [{ id: kept }, { id: lost }] = [await uploads.start("a"), await uploads.start("a")];
    for (const id of [kept, lost]) await uploads.append("a", id, stream(randomBytes(10)));
    expect(await redis.pttl(`{upload:${lost}}`)).toBeGreaterThan(0);
    await redis.pexpire(`{upload:${lost}}`, 1);
    await expect.poll(() => uploads.find("a", lost).catch(() => "gone")).toBe("gone");
    await uploads.expire(soon());
    const left = await readdir(join(folder.path, "uploads"));
    expect(left.map((name) => name.split(".")[0])).toEqual([kept]);
  });

  it("with another digest are gone, and nothing was stored", async () => {
    await using folder = temporaryFolder();
    const { uploads, content, repositories } = await replica(folder.path);
    const digest = digestOf(Buffer.from("asked for"));
    const { id } = await uploads.start("a");
    const finished = uploads.finish("a", id, { digest, body: stream(Buffer.from("sent")) });
    await expect(finished).rejects.toMatchObject({ code: "DIGEST_INVALID" });
    await expect(uploads.receiveWhole("a", digest, stream(Buffer.from("sent")))).rejects.toMatchObject({ status: 400 });
    expect([await content.size(digest), await repositories.blob("a", digest)]).toEqual([undefined, undefined]);
    expect(await readdir(join(folder.path, "tmp"))).toEqual([]);
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
  });

  it("are refused while Redis is away, and lost with its data; images are not", async () => {
    await using folder = temporaryFolder();
    const { uploads, content, repositories } = await replica(folder.path);
    const blob = randomBytes(1_000);
    const digest = digestOf(blob);
    await uploads.receiveWhole("a", digest, stream(blob));
    const { id } = await uploads.start("a");
    await uploads.append("a", id, stream(randomBytes(100)));
    await redis.flushall();
    await expect(uploads.find("a", id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    await uploads.expire(soon());
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
    await server.stop("SIGKILL");
    await expect(uploads.start("a")).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
    expect(await repositories.blob("a", digest)).toEqual({ sizeBytes: 1_000 });
    expect((await content.read(digest)).equals(blob)).toBe(true);
    await server.start();
    await expect.poll(() => redis.ping().catch(() => "")).toBe("PONG");
  });
});
