import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { type Descriptor, type Digest, digestOf, mediaTypes } from "#libs/oci";
import { type RegistryCluster, startRegistryCluster } from "./registry-cluster.ts";
import type { RegistryUser, UserRequest, UserResponse } from "./registry-user.ts";

const octets = { "content-type": "application/octet-stream" };

/** A manifest's JSON, with whatever fields. */
export type ManifestJson = Readonly<Record<string, unknown>>;

/** What the tests of the specification do again and again, as a client with a login. */
export class ConformanceClient {
  readonly #replicas: number;
  #cluster: RegistryCluster | undefined;
  #user: RegistryUser | undefined;

  constructor(replicas: number) {
    this.#replicas = replicas;
  }

  /** Starts what it speaks to, the first time that it is called. */
  async start(): Promise<void> {
    if (this.#cluster !== undefined) return;
    this.#cluster = await startRegistryCluster({ replicas: this.#replicas });
    this.#user = await this.#cluster.user("conformance", { "conformance/*": ["PULL", "PUSH", "DELETE"] });
  }

  async stop(): Promise<void> {
    await this.#cluster?.[Symbol.asyncDispose]();
  }

  get cluster(): RegistryCluster {
    if (this.#cluster === undefined) throw new Error("the registry does not run yet");
    return this.#cluster;
  }

  /** The name of a repository that nobody has used. */
  repository(): string {
    return `conformance/r${randomUUID()}`;
  }

  async send(method: string, path: string, request?: UserRequest): Promise<UserResponse> {
    if (this.#user === undefined) throw new Error("the registry does not run yet");
    return await this.#user.send(method, path, request);
  }

  /** Begins an upload; gives its location. */
  async startUpload(repository: string, query = ""): Promise<string> {
    const response = await this.send("POST", `/v2/${repository}/blobs/uploads/${query}`, {
      headers: { "content-length": 0 },
    });
    expect(response.status).toBe(202);
    return locationOf(response);
  }

  async sendChunk(method: "PATCH" | "PUT", location: string, body: Uint8Array, range?: string) {
    const headers = { ...octets, ...(range !== undefined && { "content-range": range }) };
    return await this.send(method, location, { headers, body });
  }

  /** Pushes a blob by POST and PUT. */
  async pushBlob(repository: string, blob: Uint8Array, digest: Digest = digestOf(blob)): Promise<Digest> {
    const location = await this.startUpload(repository);
    const put = await this.sendChunk("PUT", withDigest(location, digest), blob);
    expect(put.status).toBe(201);
    return digest;
  }

  async putManifest(repository: string, reference: string, manifest: ManifestJson | Uint8Array, contentType?: string) {
    const bytes = manifest instanceof Uint8Array ? Buffer.from(manifest) : Buffer.from(JSON.stringify(manifest));
    const { mediaType } = JSON.parse(bytes.toString());
    const path = `/v2/${repository}/manifests/${reference}`;
    const response = await this.send("PUT", path, {
      headers: { "content-type": contentType ?? mediaType ?? mediaTypes.manifest },
      body: bytes,
    });
    return { bytes, response };
  }

  /** Pushes an image of one layer under a tag, or by digest; `fields` come on top. */
  async pushImage(repository: string, tag?: string, fields: ManifestJson = {}) {
    const layer = Buffer.from(randomUUID());
    const config = Buffer.from("{}");
    for (const blob of [layer, config]) await this.pushBlob(repository, blob);
    const manifest = { ...image(describeBytes(config, mediaTypes.empty), [describeBytes(layer)]), ...fields };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    const { response } = await this.putManifest(repository, tag ?? digest, bytes);
    expect(response.status).toBe(201);
    const descriptor = { mediaType: mediaTypes.manifest, digest, size: bytes.length };
    return { bytes, digest, descriptor, layer, response };
  }

  async status(method: string, path: string): Promise<number> {
    return (await this.send(method, path)).status;
  }
}

export function describeBytes(bytes: Uint8Array, mediaType = "application/octet-stream", digest = digestOf(bytes)) {
  return { mediaType, digest, size: bytes.length } satisfies Descriptor;
}

export function image(config: Descriptor, layers: readonly Descriptor[] | null): ManifestJson {
  return { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers };
}

export function index(manifests: readonly Descriptor[] | null): ManifestJson {
  return { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
}

/** As clients must: a location may have a query of its own. */
export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

export function locationOf({ headers }: UserResponse): string {
  const { location = "" } = headers;
  expect(location).not.toBe("");
  return location;
}
