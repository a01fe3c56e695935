import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { bytesSource } from "./blob-source.ts";
import { RAM_PIECE_BYTES, ramLayer } from "./checkpoint-artifact.ts";
import type { ChunkSender } from "./chunk-sender.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";

interface SendRam {
  readonly signal: AbortSignal | undefined;
  readonly begun: (totalBytes: number) => void;
  readonly sent: (bytes: number) => Promise<void>;
}

export interface SentRam {
  readonly facts: { readonly sizeBytes: number; readonly digest: string };
  readonly layers: readonly Descriptor[];
}

/** Sends a file of compressed RAM piece by piece. */
export async function sendRam(path: string, sender: ChunkSender, { signal, begun, sent }: SendRam): Promise<SentRam> {
  await using file = await open(path, "r");
  const { size: sizeBytes } = await file.stat();
  begun(sizeBytes);
  const hash = createHash("sha256");
  const layers: Descriptor[] = [];
  for (let offset = 0; offset < sizeBytes; offset += RAM_PIECE_BYTES) {
    const length = Math.min(RAM_PIECE_BYTES, sizeBytes - offset);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset);
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    const source = bytesSource(piece);
    await sender.send(source, signal);
    const blob = { mediaType: mediaTypes.ramPiece, digest: source.digest, size: source.sizeBytes };
    layers.push(ramLayer({ offset, blob }));
    await sent(bytesRead);
  }
  return { facts: { sizeBytes, digest: `sha256:${hash.digest("hex")}` }, layers };
}
