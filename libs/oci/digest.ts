import { createHash } from "node:crypto";

/** `<algorithm>:<lower-case hex>`; of the algorithms that OCI registers we know sha256 and sha512. */
export type Digest = string;

export type DigestAlgorithm = "sha256" | "sha512";

const hexLengths: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };

/** The parts of a digest, or undefined when it is malformed or of an unknown algorithm. */
export function parseDigest(text: string): { algorithm: DigestAlgorithm; hex: string } | undefined {
  const [, algorithm, hex] = /^(sha256|sha512):([0-9a-f]+)$/.exec(text) ?? [];
  if (hex === undefined || (algorithm !== "sha256" && algorithm !== "sha512")) return undefined;
  return hex.length === hexLengths[algorithm] ? { algorithm, hex } : undefined;
}

export function isDigest(text: string): boolean {
  return parseDigest(text) !== undefined;
}

/** The digest of some bytes. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}
