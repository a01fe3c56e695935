import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { StillpointError } from "#libs/errors";

/** Texts of ours that say by themselves whether they are what was written. Those of versions before have no sum. */

/** A line with its sum before it. */
export const withSum = (line: string): string => `${sumOf(line)} ${line}`;

/** The line alone; undefined when it is not what was written. */
export function withoutSum(text: string): string | undefined {
  if (text.startsWith("{")) return text;
  const line = text.slice(SUM_LENGTH + 1);
  return text === withSum(line) ? line : undefined;
}

const SUM_LENGTH = 8;
const sumOf = (line: string): string => crc32(line).toString(16).padStart(SUM_LENGTH, "0");

/** What is left of a line whose end was changed, and not what was written of one by somebody who died meanwhile. */
export const lacksItsEnd = (text: string): boolean =>
  text.length > SUM_LENGTH && !text.startsWith("{") && withoutSum(text.slice(0, -1)) !== undefined;

/** JSON with its hash in it. */
export const withHash = (value: object): string => JSON.stringify({ ...value, hash: hashOf(value) }, null, 1);

/** Of a version before, and not one whose hash lost its name. */
const isUnhashed = (value: object): boolean =>
  !Object.values(value).some((it) => typeof it === "string" && /^[0-9a-f]{64}$/.test(it));

export const hashOf = (value: object): string => createHash("sha256").update(JSON.stringify(value)).digest("hex");

/** What `withHash` wrote. @throws StillpointError FILE_DAMAGED when the file is not that */
export async function readHashed(path: string): Promise<object> {
  const text = await readFile(path, "utf8");
  try {
    const { hash, ...value } = JSON.parse(text) as { hash?: string };
    if (hash === undefined ? isUnhashed(value) : hash === hashOf(value)) return value;
  } catch (cause) {
    throw damagedFile(path, cause);
  }
  throw damagedFile(path);
}

export const damagedFile = (path: string, cause?: unknown): StillpointError =>
  new StillpointError("FILE_DAMAGED", `${path} is not what was written`, { cause });
