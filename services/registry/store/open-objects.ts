import type { Lifecycle } from "#libs/lifecycle";
import { FsObjects } from "./fs-objects.ts";
import { ReservedObjects } from "./reserved-objects.ts";

export interface ObjectsConfig {
  readonly REGISTRY_STORE: "file" | "s3";
  readonly REGISTRY_DATA: string;
  readonly REGISTRY_S3_BUCKET: string;
  readonly REGISTRY_S3_REGION: string;
  readonly REGISTRY_S3_ENDPOINT?: string | undefined;
  readonly REGISTRY_MAX_BLOB_BYTES: number;
}

/** The object store that the configuration names. @throws StillpointError UNAVAILABLE when it cannot be used */
export async function openObjects(config: ObjectsConfig, lifecycle: Lifecycle): Promise<ReservedObjects> {
  if (config.REGISTRY_STORE === "file") return new ReservedObjects(await FsObjects.open(config.REGISTRY_DATA));
  // The SDK takes 75 MB of memory.
  const { S3Objects } = await import("./s3-objects.ts");
  const store = await S3Objects.open({
    bucket: config.REGISTRY_S3_BUCKET,
    region: config.REGISTRY_S3_REGION,
    endpoint: config.REGISTRY_S3_ENDPOINT,
    maxObjectBytes: config.REGISTRY_MAX_BLOB_BYTES,
  });
  return new ReservedObjects(lifecycle.add("object store", store, (it) => it.close()));
}
