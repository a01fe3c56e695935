import { StillpointError } from "#libs/errors";

/** What decides about a qcow2 file, from the header alone (QEMU docs/interop/qcow2.txt; all fields big-endian). */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly virtualSizeBytes: number;
  /** Name as written in the file; never followed before it is checked. */
  readonly backingFile?: string;
  /** From the header extension 0xE2792ACA. */
  readonly backingFormat?: string;
  readonly usesDataFile: boolean;
  readonly markedCorrupt: boolean;
}

const MAX_BACKING_NAME_BYTES = 1023;
const BACKING_FORMAT_EXTENSION = 0xe2792aca;
const INCOMPATIBLE = { corrupt: 1n << 1n, dataFile: 1n << 2n };
/** Dirty, corrupt, data file, compression type, extended L2: those of QEMU 7.2. */
const KNOWN_INCOMPATIBLE = 0b11111n;

/**
 * Reads the header of a qcow2 file; `head` is its first cluster or as much as there is (64 KiB are enough).
 * @throws StillpointError IMAGE_INVALID for versions, encryption, features and sizes that we do not know
 */
export function parseQcow2Header(head: Buffer): Qcow2Header {
  if (head.length < 72 || head.readUInt32BE(0) !== 0x514649fb) throw invalid("its header is cut short");
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw invalid(`its version is ${version}; 2 and 3 are known`);
  if (version === 3 && head.length < 104) throw invalid("its header is cut short");
  if (head.readUInt32BE(32) !== 0) throw invalid("it is encrypted");
  const incompatible = version === 3 ? head.readBigUInt64BE(72) : 0n;
  if ((incompatible & ~KNOWN_INCOMPATIBLE) !== 0n) throw invalid("it uses features that are not known");
  const backing = readBacking(head, version);
  return {
    version,
    virtualSizeBytes: readVirtualSize(head),
    ...backing,
    usesDataFile: (incompatible & INCOMPATIBLE.dataFile) !== 0n,
    markedCorrupt: (incompatible & INCOMPATIBLE.corrupt) !== 0n,
  };
}

function readVirtualSize(head: Buffer): number {
  const size = head.readBigUInt64BE(24);
  if (size === 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(`its virtual size is ${size} bytes`);
  return Number(size);
}

function readBacking(head: Buffer, version: 2 | 3): Pick<Qcow2Header, "backingFile" | "backingFormat"> {
  const offset = head.readBigUInt64BE(8);
  const length = head.readUInt32BE(16);
  if (offset === 0n) return {};
  if (length > MAX_BACKING_NAME_BYTES || offset + BigInt(length) > BigInt(head.length)) {
    return { backingFile: "(unreadable)" };
  }
  const backingFile = head.toString("utf8", Number(offset), Number(offset) + length);
  const backingFormat = readBackingFormat(head, version);
  return { backingFile, ...(backingFormat !== undefined && { backingFormat }) };
}

function readBackingFormat(head: Buffer, version: 2 | 3): string | undefined {
  let at = version === 2 ? 72 : head.readUInt32BE(100);
  while (at + 8 <= head.length) {
    const kind = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (kind === 0) return undefined;
    if (kind === BACKING_FORMAT_EXTENSION) return head.toString("utf8", at + 8, at + 8 + length);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

function invalid(why: string): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this qcow2 file cannot be used: ${why}`);
}
