import { execFile } from "node:child_process";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Debian's name of a small kernel for guests, and Ubuntu's. */
const kernelMetapackages = ["linux-image-cloud-amd64", "linux-image-virtual"];

/**
 * Downloads packages and a kernel from the machine's own apt sources and unpacks them into one tree. Of what `wanted`
 * depend on only libraries are taken. Nothing is installed, and apt's lists and caches are kept in `work`, so it needs
 * no rights.
 */
export async function unpackPackages(work: string, tree: string, wanted: readonly string[]): Promise<void> {
  const apt = await privateApt(work);
  await run("apt-get", [...apt, "-q", "update"], { maxBuffer: 1 << 24 });
  const packages = [...(await kernelPackages(apt)), ...(await programsAndLibraries(apt, wanted))];
  const downloads = join(work, "downloads");
  await mkdir(downloads, { recursive: true });
  await run("apt-get", [...apt, "-q", "download", ...packages], { cwd: downloads });
  await mergedUsr(tree);
  for (const file of await readdir(downloads)) {
    await unpack(join(downloads, file), tree);
  }
}

/** Options that give apt a state of its own in which no package is installed yet. */
async function privateApt(work: string): Promise<string[]> {
  const state = join(work, "apt");
  await mkdir(join(state, "lists/partial"), { recursive: true });
  await mkdir(join(state, "archives/partial"), { recursive: true });
  await writeFile(join(state, "status"), "");
  const settings = {
    "Dir::State": state,
    "Dir::State::status": join(state, "status"),
    "Dir::State::lists": join(state, "lists"),
    "Dir::Cache": state,
    "APT::Sandbox::User": "root",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

/** What apt would install on an empty machine for these packages, dependencies first. */
async function closure(apt: string[], names: string[]): Promise<string[]> {
  const { stdout } = await run("apt-get", [...apt, "-s", "install", "--no-install-recommends", ...names], {
    maxBuffer: 1 << 24,
  });
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? "");
}

async function programsAndLibraries(apt: string[], wanted: readonly string[]): Promise<string[]> {
  const all = await closure(apt, [...wanted]);
  return all.filter(
    (name) => wanted.includes(name) || /^lib(?!llvm|perl|z3)|^lua-|^postgresql-(client-)?\d/.test(name),
  );
}

async function kernelPackages(apt: string[]): Promise<string[]> {
  for (const metapackage of kernelMetapackages) {
    const all = await closure(apt, [metapackage]).catch(() => []);
    const packages = all.filter((name) => /^linux-(image|modules)-\d/.test(name));
    if (packages.length > 0) return packages;
  }
  throw new Error(`apt offers no kernel for the test guest: none of ${kernelMetapackages.join(", ")}`);
}

/** Not `dpkg-deb --extract`: that replaces the links of `mergedUsr` by folders. */
async function unpack(archive: string, tree: string): Promise<void> {
  const { stdout } = await run("dpkg-deb", ["--fsys-tarfile", archive], { encoding: "buffer", maxBuffer: 1 << 29 });
  await writeFile(`${archive}.tar`, stdout);
  await run("tar", ["-xf", `${archive}.tar`, "--keep-directory-symlink", "--no-same-owner", "-C", tree]);
}

/** /bin, /lib and the like as links into /usr, so that packages from before and after that move fit one tree. */
async function mergedUsr(tree: string): Promise<void> {
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(join(tree, "usr", name), { recursive: true });
    await symlink(join("usr", name), join(tree, name));
  }
}
