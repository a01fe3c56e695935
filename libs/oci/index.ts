/** A client of OCI registries, the rules of names and digests, and VM images and checkpoints as chunked artifacts. */

export {
  type CheckpointConfig,
  type CheckpointContents,
  readCheckpoint,
} from "./checkpoint-artifact.ts";
export type { ContainerCheckpointConfig, ContainerCheckpointContents } from "./container-artifact.ts";
export { readContainerCheckpoint } from "./container-artifact.ts";
export { type Digest, digestOf, isDigest, parseDigest } from "./digest.ts";
export type { ChunkDescriptor } from "./disk-chunks.ts";
export { type ExportCheckpoint, exportCheckpoint } from "./export-checkpoint.ts";
export { importCheckpoint } from "./import-checkpoint.ts";
export { importVmImage } from "./import-vm-image.ts";
export { type Descriptor, mediaTypes } from "./manifest.ts";
export { MemoryRegistry } from "./memory-registry.ts";
export { bytesToFetch, fetchDisk, fetchRam, findRemoteCheckpoint, type RemoteCheckpoint } from "./pull-checkpoint.ts";
export {
  fetchVolume,
  findRemoteContainer,
  namesContainerCheckpoint,
  type RemoteContainerCheckpoint,
} from "./pull-container.ts";
export { pullVmImage } from "./pull-vm-image.ts";
export {
  type CachedImage,
  clearRemovedPulls,
  listPulled,
  type PulledVmImage,
  readPulled,
  removePulled,
  touchPulled,
} from "./pulled-images.ts";
export { type DiskToPush, type PushedCheckpoint, pushCheckpoint } from "./push-checkpoint.ts";
export { type PushedContainerCheckpoint, pushContainerCheckpoint, type VolumeToPush } from "./push-container.ts";
export { storeAsOci } from "./pushed-image.ts";
export { readReceipt } from "./receipt-referrer.ts";
export { isRepository, isTag, parseReference, type Reference, referenceText } from "./reference.ts";
export { createRegistryClient, type RegistryClient } from "./registry-client.ts";
