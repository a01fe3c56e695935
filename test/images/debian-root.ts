import { execFile } from "node:child_process";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A root of Debian or Ubuntu for a container image. */
export interface DebianRoot {
  /** They come with all they depend on, unpacked and not configured: no script of theirs runs. */
  readonly packages: readonly string[];
  /** Patterns of paths that are left out, in dpkg's sense: `*` matches slashes too. */
  readonly without: readonly string[];
}

const hooks = "/usr/share/mmdebstrap/hooks/merged-usr";

/**
 * Makes the root as a tar archive from the machine's own apt sources, in about 20 s, and the first time only.
 * @param archive where it goes, whole or not at all
 */
export async function makeDebianRoot(archive: string, { packages, without }: DebianRoot): Promise<void> {
  if (await exists(archive)) return;
  await mkdir(join(archive, ".."), { recursive: true });
  const partial = `${archive}.${process.pid}`;
  const command = [
    "--quiet",
    "--variant=extract",
    "--format=tar",
    `--hook-dir=${hooks}`,
    `--include=${packages.join(",")}`,
    ...without.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    "",
    partial,
    ...(await aptSources()),
  ];
  try {
    await run("mmdebstrap", command, {
      maxBuffer: 1 << 24,
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    await rename(partial, archive);
  } finally {
    await rm(partial, { force: true });
  }
}

/** Of the archives of the distribution alone: other sources may need keys and settings of this machine. */
async function aptSources(): Promise<string[]> {
  const line = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)";
  const of = (origin: string) =>
    run("apt-get", ["indextargets", "--format", line, "Created-By: Packages", `Origin: ${origin}`]);
  const found = await Promise.all(["Debian", "Ubuntu"].map(of));
  return [...new Set(found.flatMap(({ stdout }) => stdout.split("\n").filter(Boolean)))];
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
