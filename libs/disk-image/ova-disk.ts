import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { StillpointError } from "#libs/errors";
import { DEFAULT_MAX_VIRTUAL_SIZE_BYTES } from "./inspect-image.ts";
import { type OvaArchive, type OvaMember, readOvaArchive, show } from "./ova-archive.ts";
import { parseOvaManifest } from "./ova-manifest.ts";
import { type OvfDisk, parseOvf } from "./ovf.ts";
import { dataPieces } from "./zeros.ts";

export interface OvaDiskWanted {
  readonly path: string;
  /** Of the disk: its id in the descriptor or the name of its file. Needed where there are several. */
  readonly disk?: string | undefined;
  /** A new file, which the disk is written to as it is in the archive, but decompressed. */
  readonly target: string;
  readonly maxVirtualSizeBytes?: number | undefined;
}

/** What a format adds to the data of a full disk: tables of a few thousandths, and a beginning. */
const formatOverhead = (bytes: number) => bytes + bytes / 16 + 64 * 2 ** 20;

/**
 * Takes one disk out of an OVA whose files are first compared with its own list of digests, where it has one.
 * @throws StillpointError IMAGE_INVALID, IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_BACKING_FILE; ARGUMENT_INVALID, which
 * names the disks, when it is not clear which is meant
 */
export async function extractOvaDisk(wanted: OvaDiskWanted, signal?: AbortSignal): Promise<void> {
  const archive = await readOvaArchive(wanted.path, signal);
  const disk = chooseDisk(wanted, parseOvf(textOf(archive, ".ovf") ?? noDescriptor(wanted.path)));
  const member = archive.members.get(disk.file);
  if (member === undefined) throw corrupt(wanted.path, `${show(disk.file)} is missing in it`);
  const { maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_SIZE_BYTES } = wanted;
  const { capacityBytes = maxVirtualSizeBytes } = disk;
  if (capacityBytes > maxVirtualSizeBytes) {
    const message = `disk ${disk.id} is one of ${capacityBytes} bytes; the quota is ${maxVirtualSizeBytes}`;
    throw new StillpointError("IMAGE_TOO_LARGE", message);
  }
  await verifyDigests(wanted.path, archive, signal);
  await writeMember(wanted, member, { maxBytes: formatOverhead(capacityBytes), signal });
}

function chooseDisk({ path, disk: wanted }: OvaDiskWanted, disks: readonly OvfDisk[]): OvfDisk {
  const [only, ...others] =
    wanted === undefined ? disks : disks.filter(({ id, file }) => id === wanted || file === wanted);
  if (only !== undefined && others.length === 0) return only;
  const listed = disks.map(({ id, file }) => `${id} (${file})`).join(", ");
  if (disks.length === 0) throw new StillpointError("IMAGE_INVALID", `${path} has no disk with data in it`);
  const message = wanted === undefined ? `${path} has ${disks.length} disks` : `${path} has no disk ${show(wanted)}`;
  throw new StillpointError("ARGUMENT_INVALID", `${message}: ${listed}`, {
    help: "Choose one with --disk, by its id or its file's name; import each under a name of its own.",
  });
}

function textOf({ texts }: OvaArchive, ending: string): string | undefined {
  const [found, another] = [...texts].filter(([name]) => name.toLowerCase().endsWith(ending));
  if (another !== undefined)
    throw new StillpointError("IMAGE_INVALID", `this OVA has several files that end in ${ending}`);
  return found?.[1].toString("utf8");
}

function noDescriptor(path: string): never {
  throw new StillpointError("IMAGE_INVALID", `${path} is a tar without an .ovf file`, {
    help: "Unpack it and import the disk image itself.",
  });
}

/** Every file that the list names has to be there and as it says. */
async function verifyDigests(path: string, archive: OvaArchive, signal: AbortSignal | undefined): Promise<void> {
  const list = textOf(archive, ".mf");
  if (list === undefined) return;
  for (const { name, algorithm, hex } of parseOvaManifest(list)) {
    const member = archive.members.get(name);
    if (member === undefined) throw corrupt(path, `${show(name)} is missing in it`);
    const hash = createHash(algorithm);
    await pipeline(readMember(path, member), hash, signal === undefined ? {} : { signal });
    if (hash.digest("hex") !== hex) throw corrupt(path, `${show(name)} is not what its list of digests says`);
  }
}

function readMember(path: string, { offset, sizeBytes }: OvaMember) {
  return createReadStream(path, {
    start: offset,
    end: Math.max(offset, offset + sizeBytes - 1),
    highWaterMark: 2 ** 20,
  });
}

interface WriteControl {
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
}

async function writeMember({ path, target }: OvaDiskWanted, member: OvaMember, control: WriteControl): Promise<void> {
  if (member.sizeBytes === 0) throw corrupt(path, `${show(member.name)} is empty`);
  await using file = await open(target, "wx", 0o600);
  try {
    const packed = readMember(path, member);
    const options = control.signal === undefined ? {} : { signal: control.signal };
    const write = (bytes: AsyncIterable<Buffer>) => writeSparsely(file, bytes, member.name, control.maxBytes);
    if (await isGzip(path, member)) await pipeline(packed, createGunzip({ chunkSize: 2 ** 20 }), write, options);
    else await pipeline(packed, write, options);
  } catch (error) {
    await rm(target, { force: true });
    throw writeError(member, error, control.signal);
  }
}

async function isGzip(path: string, { offset }: OvaMember): Promise<boolean> {
  await using file = await open(path, "r");
  const { buffer } = await file.read(Buffer.alloc(2), 0, 2, offset);
  return buffer.readUInt16BE(0) === 0x1f8b;
}

/** Zeros take no space, so what is nothing but zeros once decompressed costs nothing. */
async function writeSparsely(file: FileHandle, bytes: AsyncIterable<Buffer>, name: string, maxBytes: number) {
  let size = 0;
  for await (const piece of bytes) {
    if (size + piece.length > maxBytes) {
      const message = `${show(name)} is larger than the disk that the OVA says it is (at most ${Math.floor(maxBytes)} bytes)`;
      throw new StillpointError("IMAGE_TOO_LARGE", message);
    }
    for (const { at, bytes: data } of dataPieces(piece)) await file.write(data, 0, data.length, size + at);
    size += piece.length;
  }
  await file.truncate(size);
}

function writeError({ name }: OvaMember, error: unknown, signal: AbortSignal | undefined): unknown {
  if (error instanceof StillpointError || !(error instanceof Error)) return error;
  if (signal?.aborted)
    return new StillpointError("CANCELLED", `unpacking ${show(name)} was cancelled`, { cause: error });
  const code = "code" in error ? String(error.code) : "";
  if (code === "ENOSPC") {
    return new StillpointError("SPACE_INSUFFICIENT", `there is no room to unpack ${show(name)}`, { cause: error });
  }
  if (!code.startsWith("Z_")) return error;
  return new StillpointError("IMAGE_CORRUPT", `${show(name)} cannot be decompressed`, { cause: error });
}

function corrupt(path: string, why: string): StillpointError {
  return new StillpointError("IMAGE_CORRUPT", `the OVA ${path} is damaged: ${why}`, {
    help: "Get or export it again.",
  });
}
