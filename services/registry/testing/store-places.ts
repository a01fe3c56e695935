import { CreateBucketCommand, ListMultipartUploadsCommand } from "@aws-sdk/client-s3";
import { vi } from "vitest";
import { type S3Server, startCeph, temporaryFolder } from "#libs/testing";
import { FsObjects } from "../store/fs-objects.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { createS3Client } from "../store/s3-client.ts";
import { S3Objects } from "../store/s3-objects.ts";

/** Where registries of a test keep everything. */
export interface StorePlace {
  readonly settings: NodeJS.ProcessEnv;
  /** For a look at it past the registries. */
  readonly objects: ObjectStore;
}

export async function startFolder(ending: AsyncDisposableStack): Promise<StorePlace & { readonly path: string }> {
  const { path } = ending.use(temporaryFolder());
  return { path, settings: { REGISTRY_DATA: path }, objects: await FsObjects.open(path) };
}

/** A bucket of a Ceph of its own, whose keys this process has until the end. */
export async function startBucket(ending: AsyncDisposableStack) {
  const ceph: S3Server = ending.use(await startCeph());
  const keys = { AWS_ACCESS_KEY_ID: ceph.accessKey, AWS_SECRET_ACCESS_KEY: ceph.secretKey };
  for (const [name, value] of Object.entries(keys)) vi.stubEnv(name, value);
  ending.defer(() => {
    vi.unstubAllEnvs();
  });
  const bucket = { Bucket: "stillpoint-registry" };
  const settings = { endpoint: ceph.url, region: "us-east-1", bucket: bucket.Bucket };
  const client = createS3Client(settings);
  ending.defer(() => client.destroy());
  await client.send(new CreateBucketCommand(bucket));
  const objects = ending.adopt(await S3Objects.open({ ...settings, maxObjectBytes: 2 ** 30 }), (it) => it.close());
  return {
    ceph,
    settings: { ...keys, REGISTRY_STORE: "s3", REGISTRY_S3_ENDPOINT: ceph.url },
    objects,
    /** Keys of multipart uploads that nobody has completed. */
    unfinished: async (): Promise<string[]> => {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand(bucket));
      return Uploads.map(({ Key = "" }) => Key);
    },
  };
}
