import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import { type GuestImage, images } from "./images.ts";
import { buildInitrd, findKernel, unpackKernel } from "./kernel.ts";
import { unpackPackages } from "./packages.ts";
import { prepareByBooting } from "./prepare.ts";
import { makeDisk, stageRoot } from "./rootfs.ts";

/**
 * One disk, kernel and initrd serve them all, and a variant is a word on the kernel's command line; but `databases`,
 * with PostgreSQL and MariaDB, is an image of its own that is built when it is asked for, and needs 512 MiB of memory.
 */
export type GuestVariant = "default" | "no-agent" | "failing-hook" | "no-hooks" | "databases";

/** A guest to boot. Its files are shared and read-only: give QEMU an overlay or `snapshot=on`. */
export interface Guest {
  dir: string;
  /** Raw, ext4, bootable only with `kernel`, `initrd` and `cmdline`. */
  disk: string;
  kernel: string;
  initrd: string;
  cmdline: string;
}

const here = import.meta.dirname;
const repository = join(here, "../..");

const bootWords = "root=/dev/vda rw console=ttyS0 quiet panic=-1";
const variantWords: Record<GuestVariant, string> = {
  default: "",
  "no-agent": " stillpoint.agent=off",
  "failing-hook": " stillpoint.hook=fail",
  "no-hooks": " stillpoint.hook=off",
  databases: "",
};

/**
 * The test guest, built when it is not in the cache (`$STILLPOINT_CACHE_DIR`, else `~/.cache/stillpoint`). The cache
 * is keyed by all that the build is made of; a build appears there whole or not at all.
 */
export async function buildGuest(variant: GuestVariant = "default"): Promise<Guest> {
  const guests = join(cacheFolder(), "guest");
  const image = images[variant === "databases" ? "databases" : "default"];
  const dir = join(guests, await hashInputs(image));
  if (!(await exists(dir))) await buildInto(guests, dir, image);
  return {
    dir,
    disk: join(dir, "disk.raw"),
    kernel: join(dir, "kernel"),
    initrd: join(dir, "initrd"),
    cmdline: bootWords + variantWords[variant],
  };
}

/** Where what the tests build once is kept. */
export function cacheFolder(): string {
  const own = process.env.STILLPOINT_CACHE_DIR;
  return own ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "stillpoint");
}

/** Of the build's sources, the guest's files and the release that the packages come from. */
async function hashInputs(image: GuestImage): Promise<string> {
  const hash = createHash("sha256").update(await readFile("/etc/os-release"));
  const sources = ["build.ts", "images.ts", "kernel.ts", "packages.ts", "prepare.ts", "rootfs.ts", "initrd"];
  for (const source of [...sources.map((name) => join(here, name)), ...image.root.overlays.map(([, path]) => path)]) {
    for (const path of await filesOf(source)) {
      const { mode } = await stat(path);
      hash.update(`\0${relative(repository, path)}\0${mode & 0o111}\0`).update(await readFile(path));
    }
  }
  return hash.digest("hex").slice(0, 16);
}

async function filesOf(path: string): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

async function buildInto(guests: string, dir: string, image: GuestImage): Promise<void> {
  await mkdir(guests, { recursive: true });
  const work = await mkdtemp(join(guests, ".building-"));
  try {
    const result = join(work, "result");
    await mkdir(result);
    await build(work, result, image);
    await rename(result, dir).catch(async (error: unknown) => {
      if (!(await exists(dir))) throw error; // another process has built the same
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function build(work: string, result: string, image: GuestImage): Promise<void> {
  const tree = join(work, "tree");
  await unpackPackages(work, tree, image.packages);
  const kernel = await findKernel(tree);
  await writeFile(join(result, "kernel"), await unpackKernel(kernel.image));
  await buildInitrd({
    init: join(here, "initrd/init"),
    busybox: join(tree, "usr/bin/busybox"),
    modules: kernel.modules,
    work,
    output: join(result, "initrd"),
  });
  const root = join(work, "root");
  await stageRoot(tree, root, image.root);
  await makeDisk(root, join(result, "disk.raw"), image.diskBytes);
  if (image.prepared !== undefined) await prepareByBooting(result, `${bootWords} stillpoint.prepare`, image.prepared);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

if (import.meta.main) {
  const startedMs = performance.now();
  const guest = await buildGuest(process.argv[2] === "databases" ? "databases" : "default");
  console.log(`test guest: ${guest.dir} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
}
