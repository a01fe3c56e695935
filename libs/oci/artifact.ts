import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { digestOf } from "./digest.ts";
import { type Descriptor, type Index, type Manifest, mediaTypes } from "./manifest.ts";

/** Something with a config and any number of layers, whether it takes one manifest or many. */
export interface Artifact {
  readonly artifactType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** The manifest of a container image that belongs to it, with its platform: who knows only images runs that. */
  readonly image?: Descriptor;
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An artifact that is about to be written. */
export interface ArtifactToPack extends Omit<Artifact, "layers"> {
  readonly layers: readonly Descriptor[];
  /** More layers, in groups of at most `MAX_GROUP`: a group that stays the same stays the same manifest. */
  readonly groups: readonly (readonly Descriptor[])[];
}

export interface ManifestBytes {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** The manifest that stands for the whole, and those that it lists. */
export interface PackedArtifact {
  readonly top: ManifestBytes;
  readonly parts: readonly ManifestBytes[];
  /** The empty blob stands in where the format wants a config or a layer. */
  readonly usesEmpty: boolean;
}

/** Registries take manifests of 4 MiB (distribution-spec 1.1, "Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
/** A layer's descriptor takes at most 400 bytes. */
export const MAX_GROUP = 8_192;

/** image-spec 1.1, "Guidance for an Empty Descriptor". */
export const emptyBlob = Buffer.from("{}");
export const emptyDescriptor: Descriptor = { mediaType: mediaTypes.empty, digest: digestOf(emptyBlob), size: 2 };

/** What nobody runs; image clients pass over it. */
const NO_PLATFORM = { architecture: "unknown", os: "unknown" } as const;

/** One manifest where that is enough; otherwise an index of manifests: the image, the one with the config, the others. */
export function packArtifact(
  { groups, image, ...rest }: ArtifactToPack,
  maxManifestBytes: number = MAX_MANIFEST_BYTES,
): PackedArtifact {
  const all = [...rest.layers, ...groups.flat()];
  const whole = manifestBytes({ ...rest, layers: orEmpty(all) });
  const usesEmpty = all.length === 0 || rest.config.mediaType === mediaTypes.empty;
  if (image === undefined && whole.bytes.length <= maxManifestBytes) return { top: whole, parts: [], usesEmpty };
  const { artifactType, config, layers, subject, annotations } = rest;
  const first = manifestBytes({ artifactType, config, layers: orEmpty(layers) });
  const others = groups.map((group) => manifestBytes({ artifactType, config: emptyDescriptor, layers: group }));
  const parts = [first, ...others];
  const index: Index = {
    ...{ schemaVersion: 2, mediaType: mediaTypes.index, artifactType },
    manifests: [
      ...(image === undefined ? [] : [image]),
      ...parts.map(({ descriptor }) => (image === undefined ? descriptor : { ...descriptor, platform: NO_PLATFORM })),
    ],
    ...(subject && { subject }),
    ...(annotations && { annotations }),
  };
  return { top: toBytes(mediaTypes.index, index), parts, usesEmpty: true };
}

/** A manifest has at least one layer. */
const orEmpty = (layers: readonly Descriptor[]) => (layers.length > 0 ? layers : [emptyDescriptor]);

const descriptorShape = z.object({
  mediaType: z.string(),
  digest: z.string().regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/),
  size: z.int().min(0),
  artifactType: z.string().optional(),
  platform: z.object({ architecture: z.string(), os: z.string() }).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const common = {
  artifactType: z.string(),
  subject: descriptorShape.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
};
const manifestShape = z.object({ ...common, config: descriptorShape, layers: z.array(descriptorShape).min(1) });
const indexShape = z.object({ ...common, manifests: z.array(descriptorShape).min(1).max(10_000) });

/** Reads what `packArtifact` made; `readPart` gives the manifests that an index lists. @throws StillpointError IMAGE_INVALID */
export async function unpackArtifact(
  top: Buffer,
  readPart: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<Artifact> {
  const body = parseJson(top);
  const single = manifestShape.safeParse(body);
  if (single.success) return clean({ ...single.data, layers: withoutEmpty(single.data.layers) });
  const index = indexShape.safeParse(body);
  if (!index.success) throw invalid("it is no artifact of ours", single.error);
  const parts: z.infer<typeof manifestShape>[] = [];
  const [image, ...moreImages] = index.data.manifests.filter(isImage);
  if (moreImages.length > 0) throw invalid("it has several images");
  for (const descriptor of index.data.manifests) {
    if (!isImage(descriptor)) parts.push(readManifest(await readPart(clean(descriptor))));
  }
  const [first] = parts;
  if (first === undefined || parts.some(({ artifactType }) => artifactType !== index.data.artifactType)) {
    throw invalid("its manifests are of different kinds");
  }
  const layers = withoutEmpty(parts.flatMap((part) => part.layers));
  const { artifactType, subject, annotations } = index.data;
  return clean({ artifactType, config: first.config, layers, image, subject, annotations });
}

const isImage = ({ platform }: Pick<z.infer<typeof descriptorShape>, "platform">): boolean =>
  platform !== undefined && platform.os !== NO_PLATFORM.os;

const withoutEmpty = <Layer extends { readonly mediaType: string }>(layers: readonly Layer[]) =>
  layers.filter(({ mediaType }) => mediaType !== mediaTypes.empty);

function readManifest(bytes: Buffer) {
  const { success, data, error } = manifestShape.safeParse(parseJson(bytes));
  if (success) return data;
  throw invalid("one of its manifests is wrong", error);
}

function manifestBytes({ artifactType, config, layers, ...more }: Artifact): ManifestBytes {
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config,
    layers,
    ...more,
  };
  return toBytes(mediaTypes.manifest, manifest);
}

function toBytes(mediaType: string, manifest: Manifest | Index): ManifestBytes {
  const bytes = Buffer.from(JSON.stringify(manifest));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw invalid("it is not JSON", error);
  }
}

/** Without the members that are there as undefined. */
function clean<Value>(value: Value): RemoveUndefined<Value> {
  return JSON.parse(JSON.stringify(value)) as RemoveUndefined<Value>;
}

type RemoveUndefined<Value> = Value extends readonly (infer Item)[]
  ? RemoveUndefined<Item>[]
  : Value extends object
    ? { [Key in keyof Value]: RemoveUndefined<Exclude<Value[Key], undefined>> }
    : Value;

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this artifact cannot be used: ${why}`, { cause });
}
