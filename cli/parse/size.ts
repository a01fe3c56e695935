import { InvalidArgumentError } from "commander";

const powers: Record<string, number> = { "": 0, K: 1, M: 2, G: 3, T: 4 };

/**
 * Bytes of a size such as `512MiB`, `2G`, `1.5GiB` or `1048576`. K, M, G and T with or without `iB` are powers of
 * 1024. Throws commander's InvalidArgumentError unless it is a whole number of bytes, at least 1.
 */
export function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s?(?:B|([KMGT])(?:iB)?)?$/i.exec(text.trim());
  const bytes = Number(match?.[1]) * 1024 ** (powers[(match?.[2] ?? "").toUpperCase()] ?? 0);
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new InvalidArgumentError("Write a size such as 512MiB, 2GiB or 2G (powers of 1024).");
  }
  return bytes;
}
