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
import { objectStoreContract } from "./object-store.contract.ts";
import { createS3Client } from "./s3-client.ts";
import { S3Objects } from "./s3-objects.ts";

let server: S3Server;
let store: S3Objects;
const settings = () => ({ endpoint: server.url, region: "us-east-1", bucket: "registry", maxObjectBytes: 2 ** 30 });

beforeAll(async () => {
  server = await startCeph();
  vi.stubEnv("AWS_ACCESS_KEY_ID", server.accessKey);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", server.secretKey);
  await createS3Client(settings()).send(new CreateBucketCommand({ Bucket: "registry" }));
  store = await S3Objects.open(settings());
});

afterAll(async () => {
  store.close();
  await server[Symbol.asyncDispose]();
  vi.unstubAllEnvs();
});

objectStoreContract("S3Objects on Ceph", () => store);

test("parts that a crash left behind are aborted once they are old", async () => {
  const client = createS3Client(settings());
  const name = { Bucket: "registry", Key: "blobs/sha256/ab/orphan" };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(name));
  await client.send(new UploadPartCommand({ ...name, UploadId, PartNumber: 1, Body: randomBytes(1_000) }));
  const open = async () => (await client.send(new ListMultipartUploadsCommand({ Bucket: "registry" }))).Uploads ?? [];
  await store.sweep(new Date(Date.now() - 60_000));
  expect((await open()).map(({ Key }) => Key)).toEqual([name.Key]);
  await store.sweep(new Date(Date.now() + 60_000));
  expect(await open()).toEqual([]);
  client.destroy();
});

test("a bucket that is not there is told at once", async () => {
  await expect(S3Objects.open({ ...settings(), bucket: "another" })).rejects.toMatchObject({ reason: "UNAVAILABLE" });
});

test("a store that lacks parts of S3 is served all the same", async () => {
  await using s3rver = await startS3rver("registry");
  vi.stubEnv("AWS_ACCESS_KEY_ID", "S3RVER");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "S3RVER");
  const lesser = await S3Objects.open({ ...settings(), endpoint: s3rver.url });
  const pieces = [randomBytes(9 * 2 ** 20), randomBytes(6 * 2 ** 20), randomBytes(10)];
  const keys = pieces.map((_piece, place) => `pieces/${place}`);
  for (const [place, piece] of pieces.entries()) await lesser.receive(keys[place] ?? "", Readable.from([piece]));
  await lesser.assemble(keys, "whole");
  expect((await lesser.read("whole"))?.bytes.equals(Buffer.concat(pieces))).toBe(true);
  expect(await lesser.list("pieces/")).toEqual([]);
  await lesser.sweep(new Date());
  lesser.close();
});
