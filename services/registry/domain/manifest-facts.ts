import { OciError } from "./oci-error.ts";

interface DescriptorFacts {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** What the registry wants to know of a manifest; everything else in it is the client's and stays as it was sent. */
export interface ManifestFacts {
  readonly mediaType: string;
  /** As referrers list it: `artifactType`, or else the config's media type. */
  readonly artifactType?: string;
  /** Blobs that must be in the repository. */
  readonly blobs: readonly string[];
  /** Manifests that must be in the repository. */
  readonly manifests: readonly string[];
  readonly subject?: string;
  readonly config?: DescriptorFacts;
  /** In bytes, of each of the blobs and manifests by its digest. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Sizes of all layers, or of an index's manifests. */
  readonly sizeBytes: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

type Json = { readonly [key: string]: unknown };

/**
 * Reads an image manifest or index, of OCI or Docker (image-spec 1.1, manifest.md and image-index.md).
 * @param contentType the request's, or undefined when it had none
 * @throws OciError MANIFEST_INVALID
 */
export function readManifest(bytes: Uint8Array, contentType: string | undefined): ManifestFacts {
  const body = parse(bytes);
  const config = body.config === undefined ? undefined : descriptor(body.config);
  const artifactType = text(body, "artifactType") ?? config?.mediaType;
  return {
    mediaType: mediaTypeOf(body, contentType),
    ...(artifactType !== undefined && { artifactType }),
    ...partsOf(body, config),
    ...(body.subject !== undefined && { subject: descriptor(body.subject).digest }),
    ...(config && { config }),
    ...annotationsOf(body),
  };
}

function mediaTypeOf(body: Json, contentType: string | undefined): string {
  const mediaType = contentType ?? text(body, "mediaType");
  if (mediaType === undefined) throw invalid("it has no media type");
  if (body.mediaType === undefined || body.mediaType === mediaType) return mediaType;
  throw invalid("its media type is not that of the request");
}

type Parts = Pick<ManifestFacts, "blobs" | "manifests" | "sizes" | "sizeBytes">;

function partsOf(body: Json, config?: DescriptorFacts): Parts {
  const layers = list(body, "layers");
  const children = list(body, "manifests");
  if (layers === undefined && children === undefined) throw invalid("it has neither layers nor manifests");
  const configs = config === undefined ? [] : [config];
  const parts = [...(layers ?? []), ...(children ?? [])].map(descriptor);
  const blobs = [...(layers ?? []).filter(isOurs).map(descriptor), ...configs];
  const manifests = (children ?? []).filter(isOurs).map(descriptor);
  return {
    blobs: blobs.map(({ digest }) => digest),
    manifests: manifests.map(({ digest }) => digest),
    sizes: sizesOf([...blobs, ...manifests]),
    sizeBytes: parts.reduce((sum, { size }) => sum + size, 0),
  };
}

function sizesOf(parts: readonly DescriptorFacts[]): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const { digest, size } of parts) {
    if ((sizes.get(digest) ?? size) !== size) throw invalid(`it gives ${digest} two sizes`);
    sizes.set(digest, size);
  }
  return sizes;
}

function parse(bytes: Uint8Array): Json {
  try {
    const body: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (isObject(body)) return body;
  } catch (error) {
    throw invalid("it is not JSON", error);
  }
  throw invalid("it is not a JSON object");
}

function descriptor(value: unknown): DescriptorFacts {
  if (!isObject(value)) throw invalid("a descriptor is not an object");
  const { digest, size } = value;
  if (typeof digest !== "string" || typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw invalid("a descriptor lacks digest or size");
  }
  return { mediaType: text(value, "mediaType") ?? "", digest, size };
}

/** Layers with `urls` are kept elsewhere. */
function isOurs(value: unknown): boolean {
  return !(isObject(value) && Array.isArray(value.urls) && value.urls.length > 0);
}

function annotationsOf(body: Json): { annotations?: Readonly<Record<string, string>> } {
  const { annotations } = body;
  if (!isObject(annotations)) return {};
  const entries = Object.entries(annotations).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { annotations: Object.fromEntries(entries) };
}

function list(body: Json, key: string): readonly unknown[] | undefined {
  const value = body[key];
  if (value === undefined) return undefined;
  // As some clients write an empty list.
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalid(`its ${key} is not a list`);
  return value;
}

function text(body: Json, key: string): string | undefined {
  const value = body[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(why: string, cause?: unknown): OciError {
  return new OciError("MANIFEST_INVALID", `the manifest cannot be stored: ${why}`, { cause });
}
