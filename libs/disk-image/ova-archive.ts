import { createReadStream } from "node:fs";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { extract, type Header } from "tar-stream";
import { StillpointError } from "#libs/errors";

/** Where a file of an archive lies in it. */
export interface OvaMember {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface OvaArchive {
  readonly members: ReadonlyMap<string, OvaMember>;
  /** The descriptor and, when there is one, the list of digests; by name. */
  readonly texts: ReadonlyMap<string, Buffer>;
}

/** Real ones have less than twenty. */
const MAX_MEMBERS = 1_000;
const MAX_TEXT_BYTES = 4 * 2 ** 20;

/**
 * Lists an OVA (DSP0243, "OVF package": a tar of plain files without folders) and reads its small texts. Trusts
 * nothing: names are only compared, never used as paths.
 * @throws StillpointError IMAGE_INVALID, IMAGE_CORRUPT when it is cut short, CANCELLED
 */
export async function readOvaArchive(path: string, signal?: AbortSignal): Promise<OvaArchive> {
  const members = new Map<string, OvaMember>();
  const texts = new Map<string, Buffer>();
  const archive = extract();
  const listing = list(archive, members, texts);
  const control = signal === undefined ? {} : { signal };
  try {
    await Promise.all([pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), archive, control), listing]);
  } catch (error) {
    // Who refuses a member ends the stream too; the refusal says more.
    const refusal = await listing.catch((why: unknown) => why);
    throw archiveError(path, refusal instanceof StillpointError ? refusal : error, signal);
  }
  return { members, texts };
}

async function list(
  archive: ReturnType<typeof extract>,
  members: Map<string, OvaMember>,
  texts: Map<string, Buffer>,
): Promise<void> {
  for await (const entry of archive) {
    const member = memberOf(entry.header);
    if (members.has(member.name)) throw invalid(`it has ${show(member.name)} twice`);
    if (members.size === MAX_MEMBERS) throw invalid(`it has more than ${MAX_MEMBERS} files`);
    members.set(member.name, member);
    if (!/\.(ovf|mf)$/i.test(member.name)) {
      entry.resume();
      continue;
    }
    if (member.sizeBytes > MAX_TEXT_BYTES) throw invalid(`${show(member.name)} is larger than ${MAX_TEXT_BYTES} bytes`);
    texts.set(member.name, await buffer(entry));
  }
}

/** tar-stream says where a file's bytes begin; its types do not. */
function memberOf(header: Header & { readonly byteOffset?: number }): OvaMember {
  const name = header.name.replace(/^\.\//, "");
  if (header.type !== "file" && header.type !== "contiguous-file") {
    throw invalid(`${show(name)} is a ${header.type ?? "thing of unknown kind"}, not a plain file`);
  }
  if (!/^[^/\\\p{Cc}]{1,255}$/u.test(name) || name === "." || name === "..") {
    throw invalid(`${show(name)} is no name of a file without a folder`);
  }
  const isSparse = Object.keys(header.pax ?? {}).some((key) => key.startsWith("GNU.sparse"));
  if (isSparse || header.byteOffset === undefined) throw invalid(`${show(name)} is stored as a sparse file`);
  return { name, offset: header.byteOffset, sizeBytes: header.size ?? 0 };
}

/** A name of somebody else, fit to be shown. */
export function show(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}...` : name);
}

function archiveError(path: string, error: unknown, signal: AbortSignal | undefined): StillpointError {
  if (error instanceof StillpointError) return error;
  if (signal?.aborted) return new StillpointError("CANCELLED", `reading ${path} was cancelled`, { cause: error });
  const isCut = error instanceof Error && error.message === "Unexpected end of data";
  if (isCut) return new StillpointError("IMAGE_CORRUPT", `the archive ${path} is cut short`, { cause: error });
  return new StillpointError("IMAGE_INVALID", `the archive ${path} cannot be read`, { cause: error });
}

function invalid(why: string): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this OVA cannot be imported: ${why}`, {
    help: "An OVA is a tar of an .ovf file and the files that it names, without folders and links.",
  });
}
