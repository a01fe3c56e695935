import { emptyDescriptor } from "./artifact.ts";
import { bytesSource } from "./blob-source.ts";
import type { ChunkSender } from "./chunk-sender.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";
import { getArtifact, putArtifact } from "./transfer-artifact.ts";

interface ReceiptToPut {
  readonly repository: string;
  /** The checkpoint's manifest. */
  readonly subject: Descriptor;
  readonly receipt: object;
  readonly sender: ChunkSender;
  readonly signal: AbortSignal | undefined;
}

/** Attaches a receipt to a checkpoint. The empty blob must be in the repository. */
export async function putReceipt(
  registry: RegistryClient,
  { repository, subject, receipt, sender, signal }: ReceiptToPut,
): Promise<void> {
  const source = bytesSource(Buffer.from(JSON.stringify(receipt)));
  await sender.send(source, signal);
  const layer = { mediaType: mediaTypes.receipt, digest: source.digest, size: source.sizeBytes };
  const artifact = { artifactType: mediaTypes.receipt, config: emptyDescriptor, layers: [layer], groups: [], subject };
  await putArtifact(registry, { repository }, artifact, signal);
}

/** The receipt of a checkpoint; undefined when it has none. */
export async function readReceipt(
  registry: RegistryClient,
  { repository, digest }: { readonly repository: string; readonly digest: string },
  signal?: AbortSignal,
): Promise<unknown> {
  const [referrer] = await registry.referrers(repository, digest, mediaTypes.receipt, signal);
  if (referrer === undefined) return undefined;
  const artifact = await getArtifact(registry, repository, referrer.digest, signal);
  const layer = artifact?.layers.find(({ mediaType }) => mediaType === mediaTypes.receipt);
  if (layer === undefined) return undefined;
  return JSON.parse((await registry.readBlob(repository, layer, signal)).toString());
}
