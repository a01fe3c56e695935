import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { MAX_MANIFEST_BYTES } from "./artifact.ts";
import { type BlobSource, bytesSource } from "./blob-source.ts";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import { HttpExchange, type HttpRequest, type HttpResponse } from "./http-exchange.ts";
import { LoginExchange, type RegistryLogin } from "./login-exchange.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import { readAnswer, readBytes, refusal } from "./registry-answer.ts";

export interface RegistryClientOptions {
  /** `host:port`, or a URL with http or https. */
  readonly address: string;
  /** Connections at a time; 8 when left out. */
  readonly connections?: number;
  /** Whom it speaks as, where the registry asks for a login. */
  readonly login?: RegistryLogin | undefined;
  readonly clock?: Clock;
}

/**
 * A client of one OCI registry. Every byte that is read is checked against its digest. Broken connections are tried
 * again; then calls throw StillpointError REGISTRY_UNREACHABLE.
 */
export interface RegistryClient {
  hasBlob(repository: string, digest: Digest, signal?: AbortSignal): Promise<boolean>;
  /** Sends a blob in one request. */
  putBlob(repository: string, source: BlobSource, signal?: AbortSignal): Promise<void>;
  /** Reads a blob into memory. @throws StillpointError IMAGE_NOT_FOUND, IMAGE_CORRUPT */
  readBlob(repository: string, blob: Descriptor, signal?: AbortSignal): Promise<Buffer>;
  /** Writes a blob to a new file. @throws StillpointError IMAGE_NOT_FOUND, IMAGE_CORRUPT */
  saveBlob(repository: string, blob: Descriptor, path: string, signal?: AbortSignal): Promise<void>;
  /** The manifest behind a tag or digest, or undefined. */
  getManifest(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<{ readonly descriptor: Descriptor; readonly bytes: Buffer } | undefined>;
  hasManifest(repository: string, reference: string, signal?: AbortSignal): Promise<boolean>;
  /** Stores a manifest under a tag or its digest. */
  putManifest(
    repository: string,
    reference: string,
    manifest: { readonly mediaType: string; readonly bytes: Uint8Array },
    signal?: AbortSignal,
  ): Promise<Digest>;
  /** Removes a tag, or the manifest when named by digest. @throws StillpointError IMAGE_NOT_FOUND */
  deleteManifest(repository: string, reference: string, signal?: AbortSignal): Promise<void>;
  /** The manifests whose subject is `digest`. */
  referrers(
    repository: string,
    digest: Digest,
    artifactType?: string,
    signal?: AbortSignal,
  ): Promise<readonly Descriptor[]>;
  close(): void;
}

/** One descriptor may be as long as a manifest, and stands in an index. */
const MAX_REFERRERS_BYTES = 2 * MAX_MANIFEST_BYTES;

const accept = [mediaTypes.manifest, mediaTypes.index, mediaTypes.dockerManifest, mediaTypes.dockerManifestList];

export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const { address, connections = 8, clock, login } = options;
  const http = new HttpExchange(address, { connections, ...(clock && { clock }) });
  return new HttpRegistryClient(login === undefined ? http : new LoginExchange(http, { url: http.url, login, clock }));
}

class HttpRegistryClient implements RegistryClient {
  readonly #http: Pick<HttpExchange, "exchange" | "close">;

  constructor(http: Pick<HttpExchange, "exchange" | "close">) {
    this.#http = http;
  }

  async hasBlob(repository: string, digest: Digest, signal?: AbortSignal) {
    return await this.#send({ method: "HEAD", path: `/v2/${repository}/blobs/${digest}`, signal }, [200, 404], isFound);
  }

  async putBlob(repository: string, source: BlobSource, signal?: AbortSignal) {
    const path = `/v2/${repository}/blobs/uploads/?digest=${encodeURIComponent(source.digest)}`;
    const headers = { "content-type": "application/octet-stream" };
    await this.#send({ method: "POST", path, headers, body: source, signal }, [201], nothing);
  }

  async readBlob(repository: string, blob: Descriptor, signal?: AbortSignal) {
    const path = `/v2/${repository}/blobs/${blob.digest}`;
    const bytes = await this.#send({ method: "GET", path, signal }, [200, 404], async (answer) =>
      answer.status === 404 ? undefined : await readBytes(answer, blob.size),
    );
    if (bytes === undefined) throw notFound(`blob ${blob.digest}`, repository);
    checkBytes(bytes, blob);
    return bytes;
  }

  async saveBlob(repository: string, blob: Descriptor, path: string, signal?: AbortSignal) {
    const wanted = { method: "GET", path: `/v2/${repository}/blobs/${blob.digest}`, signal } as const;
    const isThere = await this.#send(wanted, [200, 404], async (answer) => {
      if (answer.status === 200) await saveBody(answer, blob, path);
      return answer.status === 200;
    });
    if (!isThere) throw notFound(`blob ${blob.digest}`, repository);
  }

  async getManifest(repository: string, reference: string, signal?: AbortSignal) {
    const path = `/v2/${repository}/manifests/${reference}`;
    const headers = { accept: accept.join(", ") };
    return await this.#send({ method: "GET", path, headers, signal }, [200, 404], async (answer) => {
      if (answer.status === 404) return undefined;
      const bytes = await readBytes(answer, MAX_MANIFEST_BYTES);
      const digest = parseDigest(reference) === undefined ? digestOf(bytes) : reference;
      const descriptor = { mediaType: String(answer.headers["content-type"]), digest, size: bytes.length };
      checkBytes(bytes, descriptor);
      return { descriptor, bytes };
    });
  }

  async hasManifest(repository: string, reference: string, signal?: AbortSignal) {
    const path = `/v2/${repository}/manifests/${reference}`;
    return await this.#send(
      { method: "HEAD", path, headers: { accept: accept.join(", ") }, signal },
      [200, 404],
      isFound,
    );
  }

  async putManifest(
    repository: string,
    reference: string,
    { mediaType, bytes }: { mediaType: string; bytes: Uint8Array },
    signal?: AbortSignal,
  ) {
    const path = `/v2/${repository}/manifests/${reference}`;
    const body = bytesSource(bytes);
    await this.#send({ method: "PUT", path, headers: { "content-type": mediaType }, body, signal }, [201], nothing);
    return body.digest;
  }

  async deleteManifest(repository: string, reference: string, signal?: AbortSignal) {
    const path = `/v2/${repository}/manifests/${reference}`;
    const status = await this.#send({ method: "DELETE", path, signal }, [202, 404], async (it) => it.status);
    if (status === 404) throw notFound(reference, repository);
  }

  async referrers(repository: string, digest: Digest, artifactType?: string, signal?: AbortSignal) {
    const filter = artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
    const manifests: Descriptor[] = [];
    for (let path: string | undefined = `/v2/${repository}/referrers/${digest}${filter}`; path !== undefined; ) {
      const page: ReferrersPage = await this.#send({ method: "GET", path, signal }, [200], readReferrers);
      manifests.push(...page.manifests);
      path = page.next;
    }
    // A registry may leave the filter to us (distribution-spec 1.1, "Listing Referrers").
    return artifactType === undefined ? manifests : manifests.filter((it) => it.artifactType === artifactType);
  }

  close() {
    this.#http.close();
  }

  async #send<Result>(wanted: HttpRequest, good: readonly number[], read: (answer: HttpResponse) => Promise<Result>) {
    return await this.#http.exchange(wanted, async (answer) => {
      if (!good.includes(answer.status)) throw await refusal(wanted, answer);
      return await readAnswer(answer, read);
    });
  }
}

interface ReferrersPage {
  readonly manifests: readonly Descriptor[];
  /** The request target of the next page. */
  readonly next: string | undefined;
}

async function readReferrers(answer: HttpResponse): Promise<ReferrersPage> {
  const bytes = await readBytes(answer, MAX_REFERRERS_BYTES);
  const { manifests }: { manifests: Descriptor[] } = JSON.parse(bytes.toString());
  const [, link] = /<([^>]+)>;\s*rel="?next"?/.exec(String(answer.headers.link ?? "")) ?? [];
  const next = link === undefined ? undefined : URL.parse(link, "http://registry");
  return { manifests, next: next ? `${next.pathname}${next.search}` : undefined };
}

const isFound = async ({ status }: HttpResponse): Promise<boolean> => status === 200;
const nothing = async (): Promise<void> => {};

async function saveBody(answer: HttpResponse, blob: Descriptor, path: string): Promise<void> {
  const hash = createHash(parseDigest(blob.digest)?.algorithm ?? "sha256");
  await using file = await open(path, "w", 0o600);
  let size = 0;
  for await (const piece of answer.body as AsyncIterable<Buffer>) {
    hash.update(piece);
    size += piece.length;
    await file.write(piece);
  }
  if (size !== blob.size || hash.digest("hex") !== parseDigest(blob.digest)?.hex) throw corrupt(blob);
  await file.sync();
}

function checkBytes(bytes: Buffer, blob: Descriptor): void {
  const algorithm = parseDigest(blob.digest)?.algorithm;
  if (bytes.length !== blob.size || digestOf(bytes, algorithm) !== blob.digest) throw corrupt(blob);
}

function corrupt(blob: Descriptor): StillpointError {
  return new StillpointError("IMAGE_CORRUPT", `the registry sent other bytes than ${blob.digest}`);
}

function notFound(what: string, repository: string): StillpointError {
  return new StillpointError("IMAGE_NOT_FOUND", `the registry has no ${what} in ${repository}`);
}
