import { type Descriptor, digestOf, mediaTypes } from "#libs/oci";

/** Pushes a blob in one request; for tests. */
export async function pushBlob(url: string, repository: string, blob: Buffer, digest = digestOf(blob)) {
  const target = `${url}/v2/${repository}/blobs/uploads/?digest=${digest}`;
  return await fetch(target, { method: "POST", body: new Uint8Array(blob) });
}

export interface TestManifest {
  readonly layers?: readonly Buffer[];
  readonly subject?: Descriptor;
  readonly artifactType?: string;
  /** The blobs are not sent. */
  readonly areLayersThere?: boolean;
  /** Further fields. */
  readonly extra?: object;
}

/** Pushes a manifest with its blobs; for tests. */
export async function pushManifest(url: string, repository: string, reference: string, manifest: TestManifest = {}) {
  const { layers = [], areLayersThere = false, extra = {}, ...own } = manifest;
  const config = Buffer.from("{}");
  for (const blob of areLayersThere ? [] : [config, ...layers]) await pushBlob(url, repository, blob);
  const body = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describeBlob(config, mediaTypes.empty),
    layers: layers.map((blob) => describeBlob(blob, "application/octet-stream")),
    ...own,
    ...extra,
  };
  const bytes = Buffer.from(JSON.stringify(body, undefined, 2));
  const response = await fetch(`${url}/v2/${repository}/manifests/${reference === "" ? digestOf(bytes) : reference}`, {
    method: "PUT",
    body: new Uint8Array(bytes),
    headers: { "content-type": mediaTypes.manifest },
  });
  const descriptor = { mediaType: mediaTypes.manifest, digest: digestOf(bytes), size: bytes.length };
  return { bytes, digest: descriptor.digest, descriptor, response };
}

function describeBlob(blob: Buffer, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(blob), size: blob.length };
}
