import { Readable } from "node:stream";
import { pack } from "tar-stream";
import type { TestEngine } from "#libs/testing";

/** What stands in its Dockerfile, and the files that this copies. */
export interface SmallImage {
  readonly dockerfile: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  /** linux/amd64 if unsaid. */
  readonly platform?: string;
}

/** Builds an image of a few files for one test; it goes when it is disposed of, unless a container is made of it. */
export async function smallImage(
  { docker }: TestEngine,
  name: string,
  { dockerfile, files = {}, platform = "linux/amd64" }: SmallImage,
): Promise<{ readonly tag: string } & AsyncDisposable> {
  const tag = `stillpoint-test/${name}:${process.pid}-${Date.now()}`;
  const archive = pack();
  archive.entry({ name: "Dockerfile" }, `${dockerfile.join("\n")}\n`);
  for (const [path, text] of Object.entries(files)) archive.entry({ name: path }, text);
  archive.finalize();
  // The cache would give the layers of another platform.
  const options = { t: tag, platform, nocache: true };
  for await (const _ of await docker.buildImage(Readable.from(archive), options));
  return {
    tag,
    [Symbol.asyncDispose]: async () => void (await docker.getImage(tag).remove({ force: true }).catch(unlessGone)),
  };
}

function unlessGone(error: Error & { readonly statusCode?: number }): void {
  if (error.statusCode !== 404) throw error;
}
