import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type S3Server, startCeph, startS3rver } from "#libs/testing";
import { startFaultyProxy } from "../testing/faulty-proxy.ts";
import { PiecesSource } from "./byte-source.ts";
import { objectStoreContract } from "./object-store.contract.ts";
import { createS3Client } from "./s3-client.ts";
import { S3Objects } from "./s3-objects.ts";

let server: S3Server;
let store: S3Objects;
const settings = () => ({ endpoint: server.url, region: "us-east-1", bucket: "registry", maxObjectBytes: 2 ** 30 });

beforeAll(async () => {
  server = await startCeph();
  useKeys(server.accessKey, server.secretKey);
  await createS3Client(settings()).send(new CreateBucketCommand({ Bucket: "registry" }));
  store = await S3Objects.open(settings());
});

afterAll(async () => {
  store.close();
  await server[Symbol.asyncDispose]();
  vi.unstubAllEnvs();
});

/** Those that clients which are made from now on find. */
function useKeys(accessKey: string, secretKey: string): void {
  vi.stubEnv("AWS_ACCESS_KEY_ID", accessKey);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", secretKey);
}

async function unfinishedUploads() {
  const client = createS3Client(settings());
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: "registry" }));
  client.destroy();
  return Uploads.map(({ Key }) => Key);
}

objectStoreContract("S3Objects on Ceph", () => store);

test("parts that a crash left behind are aborted once they are old", async () => {
  const client = createS3Client(settings());
  const name = { Bucket: "registry", Key: "blobs/sha256/ab/orphan" };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(name));
  await client.send(new UploadPartCommand({ ...name, UploadId, PartNumber: 1, Body: randomBytes(1_000) }));
  await store.sweep(new Date(Date.now() - 60_000));
  expect(await unfinishedUploads()).toEqual([name.Key]);
  await store.sweep(new Date(Date.now() + 60_000));
  expect(await unfinishedUploads()).toEqual([]);
  client.destroy();
});

test("pieces larger than one request may copy become one object, copied part by part inside the store", async () => {
  const splitting = await S3Objects.open({ ...settings(), copyBytes: 12 * 2 ** 20 });
  const client = createS3Client(settings());
  for (const [name, sizes, parts] of [
    ["one", [25], 3],
    ["some", [13, 7, 1], 4],
  ] as const) {
    const pieces = sizes.map((mib) => randomBytes(mib * 2 ** 20));
    const keys = pieces.map((_piece, place) => `pieces/${name}-${place}`);
    for (const [place, piece] of pieces.entries())
      await splitting.receive(keys[place] ?? "", new PiecesSource(Readable.from([piece])));
    const Key = `copied/${name}`;
    await splitting.assemble(keys, Key);
    expect((await store.read(Key))?.bytes.equals(Buffer.concat(pieces))).toBe(true);
    // It ends with the number of parts: had the bytes come through here, it would be another.
    const { ETag } = await client.send(new HeadObjectCommand({ Bucket: "registry", Key }));
    expect(ETag).toMatch(new RegExp(`-${parts}"$`));
    expect([await store.list(`pieces/${name}-`), await unfinishedUploads()]).toEqual([[], []]);
  }
  client.destroy();
  splitting.close();
});

test("a store that is slow, or has too much to do for a moment, is waited for; for longer, it is told", async () => {
  await using proxy = await startFaultyProxy(server.url);
  const slow = await S3Objects.open({ ...settings(), endpoint: proxy.url });
  const blob = randomBytes(9 * 2 ** 20);
  proxy.turn("delay");
  await slow.receive("slow/delay", new PiecesSource(Readable.from([blob])));
  expect((await slow.read("slow/delay"))?.bytes.equals(blob)).toBe(true);
  for (const fault of ["throttle", "fail"] as const) {
    proxy.turn(fault, 2);
    await slow.put(`slow/${fault}`, "x");
    expect(await slow.head(`slow/${fault}`)).toMatchObject({ sizeBytes: 1 });
  }
  proxy.turn("throttle");
  await expect(slow.put("slow/never", "x")).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
  slow.close();
  expect(await store.head("slow/never")).toBeUndefined();
});

test("a bucket that is not there is told at once", async () => {
  await expect(S3Objects.open({ ...settings(), bucket: "another" })).rejects.toMatchObject({ reason: "UNAVAILABLE" });
});

test("a store that lacks parts of S3 is served all the same", async () => {
  await using s3rver = await startS3rver("registry");
  useKeys("S3RVER", "S3RVER");
  const lesser = await S3Objects.open({ ...settings(), endpoint: s3rver.url });
  useKeys(server.accessKey, server.secretKey);
  const pieces = [randomBytes(9 * 2 ** 20), randomBytes(6 * 2 ** 20), randomBytes(10)];
  const keys = pieces.map((_piece, place) => `pieces/${place}`);
  for (const [place, piece] of pieces.entries())
    await lesser.receive(keys[place] ?? "", new PiecesSource(Readable.from([piece])));
  await lesser.assemble(keys, "whole");
  expect((await lesser.read("whole"))?.bytes.equals(Buffer.concat(pieces))).toBe(true);
  expect(await lesser.list("pieces/")).toEqual([]);
  await lesser.sweep(new Date());
  lesser.close();
});

test.each(["fail", "hang"] as const)("a store that %ss is told in time, and leaves nothing", async (fault) => {
  await using proxy = await startFaultyProxy(server.url);
  const faulty = await S3Objects.open({ ...settings(), endpoint: proxy.url, timeoutMs: 300 });
  const key = `uploads/faulty-${fault}`;
  const body = async function* () {
    yield randomBytes(9 * 2 ** 20);
    proxy.turn(fault);
    yield randomBytes(9 * 2 ** 20);
  };
  const refusal = { code: "UNAVAILABLE", status: 503 };
  await expect(faulty.receive(key, new PiecesSource(body()))).rejects.toMatchObject(refusal);
  await expect(faulty.read("any")).rejects.toMatchObject(refusal);
  await expect(faulty.list("any/")).rejects.toMatchObject(refusal);
  faulty.close();
  await store.sweep(new Date(Date.now() + 60_000));
  expect(await store.head(key)).toBeUndefined();
  expect(await unfinishedUploads()).toEqual([]);
});
