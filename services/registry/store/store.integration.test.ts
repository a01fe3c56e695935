import { randomBytes } from "node:crypto";
import { mkdir, readdir, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { digestOf } from "#libs/oci";
import { temporaryFolder } from "#libs/testing";
import { openStore } from "./open-store.ts";

const options = { maxBlobBytes: 10_000_000 };
const stream = (bytes: Uint8Array) => Readable.from([Buffer.from(bytes)]);
const empty = () => Readable.from([]);

describe("uploads", () => {
  it("go on in another process, which hashes again what is stored", async () => {
    await using folder = temporaryFolder();
    const blob = randomBytes(100_000);
    const before = await openStore(folder.path, options);
    const { id } = await before.uploads.start("a");
    await before.uploads.append("a", id, stream(blob.subarray(0, 60_000)));
    const after = await openStore(folder.path, options);
    expect((await after.uploads.find("a", id)).offset).toBe(60_000);
    await after.uploads.append("a", id, stream(blob.subarray(60_000)));
    await after.uploads.finish("a", id, { digest: digestOf(blob), body: empty() });
    expect((await after.content.read(digestOf(blob))).equals(blob)).toBe(true);
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
  });

  it("forget bytes of a chunk that was never committed", async () => {
    await using folder = temporaryFolder();
    const blob = randomBytes(1_000);
    const { uploads, content } = await openStore(folder.path, options);
    const { id } = await uploads.start("a");
    await uploads.append("a", id, stream(blob.subarray(0, 500)));
    await truncate(join(folder.path, "uploads", id, "data"), 9_000);
    await uploads.finish("a", id, { digest: digestOf(blob), body: stream(blob.subarray(500)) });
    expect(await content.size(digestOf(blob))).toBe(1_000);
  });

  it("belong to one repository", async () => {
    await using folder = temporaryFolder();
    const { uploads } = await openStore(folder.path, options);
    const { id } = await uploads.start("a");
    await expect(uploads.find("b", id)).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    await expect(uploads.find("a", "../../a")).rejects.toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
  });

  it("expire when they are idle, with files that nobody finished", async () => {
    await using folder = temporaryFolder();
    const { uploads } = await openStore(folder.path, options);
    const idle = await uploads.start("a");
    const busy = await uploads.start("a");
    const long = new Date(Date.now() - 100_000);
    await utimes(join(folder.path, "uploads", idle.id, "session.json"), long, long);
    await mkdir(join(folder.path, "uploads", "without-session"));
    for (const name of ["old", "new"]) await writeFile(join(folder.path, "tmp", name), "half a blob");
    await utimes(join(folder.path, "tmp", "old"), long, long);
    await uploads.expire(new Date(Date.now() - 50_000));
    expect(await readdir(join(folder.path, "uploads"))).toEqual([busy.id]);
    expect(await readdir(join(folder.path, "tmp"))).toEqual(["new"]);
  });

  it("with another digest are gone, and nothing was stored", async () => {
    await using folder = temporaryFolder();
    const { uploads, content, repositories } = await openStore(folder.path, options);
    const digest = digestOf(Buffer.from("asked for"));
    const { id } = await uploads.start("a");
    const finished = uploads.finish("a", id, { digest, body: stream(Buffer.from("sent")) });
    await expect(finished).rejects.toMatchObject({ code: "DIGEST_INVALID" });
    await expect(uploads.receiveWhole("a", digest, stream(Buffer.from("sent")))).rejects.toMatchObject({ status: 400 });
    expect([await content.size(digest), await repositories.hasBlob("a", digest)]).toEqual([undefined, false]);
    expect(await readdir(join(folder.path, "tmp"))).toEqual([]);
    expect(await readdir(join(folder.path, "uploads"))).toEqual([]);
  });
});
