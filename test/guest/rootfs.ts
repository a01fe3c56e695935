import { execFile } from "node:child_process";
import { chmod, cp, glob, mkdir, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const loader = "usr/lib64/ld-linux-x86-64.so.2";
const libraryFolders = ["usr/lib/x86_64-linux-gnu", "usr/lib"];
const emptyFolders = ["dev", "proc", "sys", "run", "root", "data", "mnt", "tmp", "usr/bin", "usr/lib", "usr/lib64"];

/** What goes into a guest's root. Paths are below the tree of packages, or below the guest's root. */
export interface RootContents {
  /** Patterns of programs, taken with the libraries that they link; one below usr/lib stays there, others go to usr/bin. */
  readonly programs: readonly string[];
  /** Files and folders of the tree that go to the same place. */
  readonly files: readonly string[];
  /** Where in the root, and a file or folder of ours; in turn, so that a later one wins. */
  readonly overlays: readonly (readonly [target: string, source: string])[];
}

/** Lays out the guest's root: programs and libraries of `tree`, busybox for all else. */
export async function stageRoot(tree: string, root: string, contents: RootContents): Promise<void> {
  const { files, overlays } = contents;
  const programs: string[] = [];
  for await (const program of glob([...contents.programs], { cwd: tree })) programs.push(program);
  for (const folder of emptyFolders) await mkdir(join(root, folder), { recursive: true });
  for (const name of ["bin", "sbin", "lib", "lib64"]) await symlink(linkTarget(name), join(root, name));
  await symlink("bin", join(root, "usr/sbin"));
  for (const [target, source] of overlays) {
    await cp(source, join(root, target), { recursive: true, verbatimSymlinks: true });
  }
  for (const file of files) await cp(join(tree, file), join(root, file), { recursive: true, verbatimSymlinks: true });
  for (const program of programs) {
    await install(
      join(tree, program),
      join(root, program.startsWith("usr/lib/") ? program : join("usr/bin", basename(program))),
    );
  }
  for (const library of await linkedLibraries(tree, programs)) {
    await install(library, join(root, "usr/lib", basename(library)));
  }
  await install(join(tree, loader), join(root, loader));
  await cp(join(tree, "etc/mke2fs.conf"), join(root, "etc/mke2fs.conf"));
  await installBusybox(tree, root);
}

function linkTarget(name: string): string {
  return name === "sbin" ? "usr/bin" : `usr/${name}`;
}

async function install(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { dereference: true });
  await chmod(to, 0o755);
}

/** Every applet but those that a real program or one of our scripts has taken. */
async function installBusybox(tree: string, root: string): Promise<void> {
  const busybox = join(tree, "usr/bin/busybox");
  await install(busybox, join(root, "usr/bin/busybox"));
  const { stdout } = await run(busybox, ["--list"]);
  for (const applet of stdout.trim().split("\n")) {
    await symlink("busybox", join(root, "usr/bin", applet)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

/** What the tree's own loader would load for the programs: it prints `name => path (address)` lines. */
async function linkedLibraries(tree: string, programs: readonly string[]): Promise<Set<string>> {
  const path = libraryFolders.map((folder) => join(tree, folder)).join(":");
  const found = new Set<string>();
  for (const program of programs) {
    const { stdout } = await run(join(tree, loader), [
      "--inhibit-cache",
      "--library-path",
      path,
      "--list",
      join(tree, program),
    ]);
    for (const [, library] of stdout.matchAll(/=> (\/\S+)/g)) found.add(library ?? "");
    if (stdout.includes("not found")) throw new Error(`${program} needs libraries that its packages lack:\n${stdout}`);
  }
  return found;
}

/** Makes a raw, sparse ext4 image of `root` without mounting anything. */
export async function makeDisk(root: string, disk: string, diskBytes: number): Promise<void> {
  await run(
    "mke2fs",
    [
      "-q",
      "-t",
      "ext4",
      "-L",
      "guest",
      "-E",
      "root_owner=0:0,lazy_itable_init=1",
      "-d",
      root,
      disk,
      `${diskBytes / 1024}k`,
    ],
    { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } },
  );
}
