import { execFile } from "node:child_process";
import { chmod, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { StillpointError } from "#libs/errors";

const run = promisify(execFile);

/** Makers of ISO images that take mkisofs's arguments, in order of preference. */
const makers: readonly (readonly [string, ...string[]])[] = [
  ["genisoimage"],
  ["xorriso", "-as", "mkisofs"],
  ["mkisofs"],
];

export interface Seed {
  readonly path: string;
  /** The workload's folder, for what is made on the way. */
  readonly folder: string;
  readonly uid: string;
  readonly hostname: string;
  readonly userData: Uint8Array;
}

/**
 * A cloud-init NoCloud seed: an ISO image of volume id "cidata" with user-data and meta-data (cloud-init, datasources).
 * @throws StillpointError CAPABILITY_MISSING when no program here makes ISO images
 */
export async function makeSeed({ path, folder, uid, hostname, userData }: Seed): Promise<void> {
  const work = await mkdtemp(join(folder, ".seed-"));
  try {
    const files = [join(work, "user-data"), join(work, "meta-data")] as const;
    await writeFile(files[0], userData);
    await writeFile(files[1], JSON.stringify({ "instance-id": uid, "local-hostname": hostname }));
    const image = join(work, "seed.iso");
    await makeIso(["-quiet", "-output", image, "-volid", "cidata", "-joliet", "-rock", ...files]);
    await chmod(image, 0o444);
    await rename(image, path);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function makeIso(args: readonly string[]): Promise<void> {
  for (const [program, ...first] of makers) {
    try {
      await run(program, [...first, ...args], { timeout: 30_000 });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new StillpointError("CAPABILITY_MISSING", "user data needs a program that makes ISO images on the host", {
    help: "Install genisoimage or xorriso on the host, or create the VM without user data.",
  });
}
