import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type Dockerode from "dockerode";
import { extract } from "tar-stream";
import { askEngine, askUnless } from "./engine-error.ts";

/** Go's os.FileMode: the bits of symbolic links and of folders. */
const LINK_BIT = 27;
const FOLDER_BIT = 31;

interface PathStat {
  readonly mode: number;
}

/** What lies at a path in a container; undefined when nothing does. */
export async function lookAt(docker: Dockerode, uid: string, path: string) {
  const what = `looking at ${path} in ${uid}`;
  const answer = await askUnless([404], what, async () => docker.getContainer(uid).infoArchive({ path }));
  if (answer === undefined) return undefined;
  const { headers } = answer as unknown as IncomingMessage;
  (answer as unknown as IncomingMessage).resume();
  const stat = JSON.parse(
    Buffer.from(String(headers["x-docker-container-path-stat"]), "base64").toString(),
  ) as PathStat;
  const has = (bit: number) => Math.floor(stat.mode / 2 ** bit) % 2 === 1;
  return { mode: stat.mode % 0o1000, isLink: has(LINK_BIT), isFolder: has(FOLDER_BIT) };
}

/** A small file as it is in a container; undefined when there is none. */
export async function readSmallFile(docker: Dockerode, uid: string, path: string): Promise<Buffer | undefined> {
  const what = `reading ${path} in ${uid}`;
  const archive = await askUnless([404], what, async () => docker.getContainer(uid).getArchive({ path }));
  if (archive === undefined) return undefined;
  return await askEngine(what, () => firstFile(archive as Readable));
}

async function firstFile(archive: Readable): Promise<Buffer | undefined> {
  const unpacked = extract();
  archive.once("error", (error) => unpacked.destroy(error));
  archive.pipe(unpacked);
  for await (const entry of unpacked) {
    if (entry.header.type !== "file") return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }
  return undefined;
}
