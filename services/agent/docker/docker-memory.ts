import { cp, mkdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type Dockerode from "dockerode";
import { askEngine } from "./engine-error.ts";

/** Docker's client does not know the type of it. */
interface WithCheckpoints {
  createCheckpoint(options: {
    readonly CheckpointID: string;
    readonly CheckpointDir: string;
    readonly Exit: boolean;
  }): Promise<unknown>;
}

/** Has CRIU write down the processes of a container, which go on, or stand still, as before. */
export async function saveMemory(docker: Dockerode, uid: string, folder: string): Promise<void> {
  const options = { CheckpointID: basename(folder), CheckpointDir: dirname(folder), Exit: false };
  const container = docker.getContainer(uid) as unknown as WithCheckpoints;
  await askEngine(`saving the memory of ${uid}`, async () => container.createCheckpoint(options));
}

/** Docker begins with checkpoints in a container's own folder only (moby: "custom checkpointdir is not supported"). */
export async function startFromMemory(docker: Dockerode, uid: string, folder: string): Promise<void> {
  const what = `restoring the memory of ${uid}`;
  const container = docker.getContainer(uid);
  const { Id } = await askEngine(what, async () => container.inspect());
  const { DockerRootDir } = (await askEngine(what, async () => docker.info())) as { readonly DockerRootDir: string };
  const place = join(DockerRootDir, "containers", Id, "checkpoints", basename(folder));
  await mkdir(dirname(place), { recursive: true, mode: 0o700 });
  try {
    await cp(folder, place, { recursive: true });
    const options = { checkpoint: basename(folder) };
    await askEngine(what, async () => container.start(options as Dockerode.ContainerStartOptions));
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}
