import type { Digest } from "./digest.ts";

/** image-spec 1.1, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  /** Of a manifest in an index. */
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** image-spec 1.1, image-index.md: what an image runs on. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
}

/** image-spec 1.1, manifest.md: what we write. */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** image-spec 1.1, image-index.md: what we write. */
export interface Index {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly artifactType: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerManifestList: "application/vnd.docker.distribution.manifest.list.v2+json",
  imageConfig: "application/vnd.oci.image.config.v1+json",
  imageLayer: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerImageConfig: "application/vnd.docker.container.image.v1+json",
  dockerImageLayer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  empty: "application/vnd.oci.empty.v1+json",
  vmImage: "application/vnd.stillpoint.vm.image.v1+json",
  vmImageConfig: "application/vnd.stillpoint.vm.image.config.v1+json",
  diskChunk: "application/vnd.stillpoint.disk.chunk.v1+zstd",
  kernel: "application/vnd.stillpoint.vm.kernel.v1",
  initrd: "application/vnd.stillpoint.vm.initrd.v1",
  checkpoint: "application/vnd.stillpoint.vm.checkpoint.v1+json",
  checkpointConfig: "application/vnd.stillpoint.vm.checkpoint.config.v1+json",
  containerCheckpoint: "application/vnd.stillpoint.container.checkpoint.v1+json",
  containerCheckpointConfig: "application/vnd.stillpoint.container.checkpoint.config.v1+json",
  ramPiece: "application/vnd.stillpoint.vm.ram.piece.v1",
  receipt: "application/vnd.stillpoint.checkpoint.receipt.v1+json",
} as const;
