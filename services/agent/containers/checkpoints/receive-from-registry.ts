import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import { fetchVolume, findRemoteContainer } from "#libs/oci";
import type { StepContext } from "../../steps/step-runner.ts";
import type { ContainerParts } from "../container-parts.ts";
import { digestOfFiles, unpack } from "./archive.ts";
import { besideCopy, copyTree } from "./files.ts";
import type { ReceiveSource } from "./receive-source.ts";

/** So many bytes of zeros in a volume are worth a copy with holes. */
const HOLES_BYTES = 2 ** 20;

/** A checkpoint in the registry. Every byte is checked; what an attempt that was cut off had brought is checked again. */
export async function registrySource(
  parts: ContainerParts,
  context: StepContext,
  reference: string,
): Promise<ReceiveSource> {
  const { registry, engine, images } = parts;
  const { signal, progress } = context;
  const remote = await findRemoteContainer(registry, reference, signal);
  const { repository, config, volumes } = remote;
  const bytesTotal = volumes.flatMap(({ chunks }) => chunks).reduce((sum, { length }) => sum + length, 0);
  let bytesDone = 0;
  const onBytes = async (bytes: number) => {
    bytesDone += bytes;
    progress({ bytesDone, bytesTotal, message: `from ${repository}` });
    if (2 * bytesDone >= bytesTotal) await failpoint("agent.receive-checkpoint.chunk");
  };
  return {
    kind: config.kind,
    volumes: volumes.map(({ id }) => id),

    async image(to) {
      const name = images.nameFor(`${repository}@${remote.image.digest}`);
      const control = { signal, progress: (bytes: object) => progress({ ...bytes, message: "pulling the image" }) };
      await engine.images.pull(name, images.login, control);
      await engine.images.tag(name, to);
      const found = await engine.images.find(name);
      await engine.images.remove(name);
      if (found !== undefined) return found;
      throw new StillpointError("IMAGE_NOT_FOUND", `the engine does not have ${name}`);
    },

    async volume(id, copy) {
      const volume = volumes.find((it) => it.id === id);
      if (volume === undefined) throw new StillpointError("IMAGE_INVALID", `the checkpoint has no volume ${id}`);
      await mkdir(dirname(copy), { recursive: true, mode: 0o700 });
      const archive = besideCopy(copy, "tar");
      await fetchVolume(volume, { registry, repository, path: archive, onBytes, signal }).catch((cause: unknown) => {
        if (!isFull(cause)) throw cause;
        throw new StillpointError("SPACE_INSUFFICIENT", `there is no room for volume ${id} of ${reference}`, { cause });
      });
      const zeroBytes = volume.virtualSizeBytes - volume.chunks.reduce((sum, { length }) => sum + length, 0);
      const part = await unpacked(archive, copy, { hasHoles: zeroBytes > HOLES_BYTES, signal });
      if ((await digestOfFiles(part, signal)) !== volume.digest) {
        throw new StillpointError("IMAGE_CORRUPT", `volume ${id} of ${reference} is not what was pushed`);
      }
      await rename(part, copy);
      await rm(archive, { force: true });
    },
  };
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

/** Gives the folder with its files, which is not the copy yet. */
async function unpacked(
  archive: string,
  copy: string,
  { hasHoles, signal }: { readonly hasHoles: boolean; readonly signal: AbortSignal },
): Promise<string> {
  const make = async (folder: string) => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    return folder;
  };
  const dense = await make(besideCopy(copy, "part"));
  await unpack(archive, dense, signal);
  if (!hasHoles) return dense;
  const sparse = await make(besideCopy(copy, "sparse"));
  await copyTree(dense, sparse, { signal });
  await rm(dense, { recursive: true, force: true });
  return sparse;
}
