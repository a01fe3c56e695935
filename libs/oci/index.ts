/** A client of OCI registries, the rules of names and digests, and VM images as chunked artifacts. */

export { type Digest, digestOf, isDigest, parseDigest } from "./digest.ts";
export { importVmImage } from "./import-vm-image.ts";
export { type Descriptor, mediaTypes } from "./manifest.ts";
export { clearUnfinishedPulls, type PulledVmImage, pullVmImage } from "./pull-vm-image.ts";
export { isRepository, isTag, parseReference, type Reference, referenceText } from "./reference.ts";
export { createRegistryClient, type RegistryClient } from "./registry-client.ts";
