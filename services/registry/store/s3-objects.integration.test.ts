import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
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
  const began = performance.now();
  await expect(faulty.receive(key, new PiecesSource(body()))).rejects.toMatchObject(refusal);
  await expect(faulty.read("any")).rejects.toMatchObject(refusal);
  await expect(faulty.list("any/")).rejects.toMatchObject(refusal);
  expect(performance.now() - began).toBeLessThan(10_000);
  faulty.close();
  await store.sweep(new Date(Date.now() + 60_000));
  expect(await store.head(key)).toBeUndefined();
  expect(await unfinishedUploads()).toEqual([]);
});
