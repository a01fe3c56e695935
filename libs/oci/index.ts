/** A client of OCI registries, the rules of names and digests, and VM images as chunked artifacts. */

export { type BlobSource, bytesSource, fileSource } from "./blob-source.ts";
export { type Digest, digestOf, isDigest, parseDigest } from "./digest.ts";
export { type ImportVmImage, importVmImage } from "./import-vm-image.ts";
export { type Descriptor, type Manifest, mediaTypes } from "./manifest.ts";
export { MemoryRegistry } from "./memory-registry.ts";
export type { Progress } from "./progress.ts";
export { clearUnfinishedPulls, type PulledVmImage, type PullVmImage, pullVmImage } from "./pull-vm-image.ts";
export { type PushedVmImage, type PushVmImage, pushVmImage } from "./push-vm-image.ts";
export { isRepository, isTag, parseReference, type Reference, referenceText } from "./reference.ts";
export { createRegistryClient, type RegistryClient, type RegistryClientOptions } from "./registry-client.ts";
export { readVmImage, type VmImage, type VmImageConfig } from "./vm-image.ts";
