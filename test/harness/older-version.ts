import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./command.ts";

const run = promisify(execFile);
const git = async (...args: string[]) => (await run("git", ["-C", repository, ...args])).stdout.trim();

/**
 * The commit whose version upgrades begin at: the last release's, named in test/upgrade-from, or STILLPOINT_UPGRADE_FROM.
 * A shallow clone fetches it; where it cannot be had, this very commit stands in: then processes are replaced one by
 * one, and there is no other version beside them.
 */
export async function olderCommit(): Promise<{ readonly commit: string; readonly isOther: boolean }> {
  const named = (await readFile(join(repository, "test/upgrade-from"), "utf8")).trim();
  const wanted = process.env.STILLPOINT_UPGRADE_FROM ?? named;
  if (await isThere(wanted)) return { commit: wanted, isOther: true };
  await git("fetch", "--quiet", "--depth=1", "origin", wanted).catch(() => undefined);
  if (await isThere(wanted)) return { commit: wanted, isOther: true };
  console.warn(`${wanted} is not in this clone and cannot be fetched: the commit that is checked out stands in for it`);
  return { commit: "HEAD", isOther: false };
}

const isThere = (commit: string): Promise<boolean> =>
  git("cat-file", "-e", `${commit}^{commit}`).then(
    () => true,
    () => false,
  );

/** Puts the files of a commit, or those below `paths`, into a folder. */
export async function extract(commit: string, folder: string, paths: readonly string[] = []): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const archive = spawn("git", ["-C", repository, "archive", commit, ...paths], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const tar = spawn("tar", ["-x", "-C", folder], { stdio: [archive.stdout, "inherit", "inherit"] });
  const [[archived], [extracted]] = await Promise.all([once(archive, "exit"), once(tar, "exit")]);
  if (archived !== 0 || extracted !== 0)
    throw new Error(`git archive ${commit} ended with ${archived}, tar with ${extracted}`);
}

/** Makes a version ready to run in an empty folder: its files, its contracts, and this version's dependencies. */
export async function installVersion(commit: string, folder: string): Promise<void> {
  await extract(commit, folder);
  await checkDependencies(folder);
  await symlink(join(repository, "node_modules"), join(folder, "node_modules"));
  const buf = join(repository, "node_modules/.bin/buf");
  await run(buf, ["generate"], { cwd: folder });
  await run(buf, ["build", "-o", "libs/contracts/stillpoint.binpb"], { cwd: folder });
}

async function checkDependencies(folder: string): Promise<void> {
  const { dependencies } = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const text = await readFile(join(repository, "package.json"), "utf8");
  const missing = Object.keys(dependencies).filter((name) => !text.includes(`"${name}"`));
  if (missing.length === 0) return;
  throw new Error(
    `${missing.join(", ")}: dependencies of the release before; keep them in devDependencies until the next`,
  );
}
