import { open, readdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type TemporaryFolder, temporaryFolder } from "#libs/testing";
import { runCommand } from "../harness/command.ts";

/** A file system of its own on a loop device, small enough to be filled. */
export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Takes all of it but so many bytes. */
  fill(leaveBytes: number): Promise<void>;
  /** Gives that back. */
  clear(): Promise<void>;
}

/** What the file system needs to note where a large file lies. */
const SLACK_BYTES = 2 ** 20;

export async function mountSmallDisk(sizeBytes: number): Promise<SmallDisk> {
  const folder = temporaryFolder();
  const image = join(folder.path, "disk.img");
  const path = join(folder.path, "mounted");
  await using file = await open(image, "w");
  await file.truncate(sizeBytes);
  await run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", image);
  await run("mkdir", path);
  await run("mount", "-o", "loop", image, path);
  const ballast = join(path, "ballast");
  await run("mkdir", ballast);
  return {
    path,
    async fill(leaveBytes) {
      const { bavail, bsize } = await statfs(path);
      const large = bavail * bsize - Math.max(leaveBytes, SLACK_BYTES);
      if (large > 0) await run("fallocate", "-l", String(large), join(ballast, "large"));
      // To the last block: it ends when there is none left.
      if (leaveBytes === 0) await runCommand("dd", ["if=/dev/zero", `of=${join(ballast, "small")}`, "bs=4k"]);
    },
    async clear() {
      for (const file of await readdir(ballast)) await rm(join(ballast, file));
    },
    [Symbol.asyncDispose]: () => unmount(path, folder),
  };
}

async function unmount(path: string, folder: TemporaryFolder): Promise<void> {
  await run("umount", path);
  await folder[Symbol.asyncDispose]();
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await runCommand(program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr.trim()}`);
}
