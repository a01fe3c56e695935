import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventually, temporaryFolder } from "#libs/testing";
import { copyTree, dropChanged, ownBytes, writeBack } from "./files.ts";

const { signal } = new AbortController();

describe("copies of a volume", () => {
  it("keeps owners, permissions, links, holes and names that are not UTF-8", async () => {
    await using place = await twoFolders();
    const { from, to } = place;
    await writeFile(join(from, "a"), "a");
    await chown(join(from, "a"), 999, 998);
    await chmod(join(from, "a"), 0o4640);
    await link(join(from, "a"), join(from, "b"));
    await symlink("/etc", join(from, "elsewhere"));
    await writeFile(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0x0a, 0x2d])]), "odd");
    await writeFile(join(from, "hole"), "");
    await truncate(join(from, "hole"), 2 ** 26);

    await copyTree(from, to, { signal });

    const [a, b] = [await stat(join(to, "a")), await stat(join(to, "b"))];
    expect(a).toMatchObject({ uid: 999, gid: 998, mode: 0o104640, ino: b.ino });
    expect((await lstat(join(to, "elsewhere"))).isSymbolicLink()).toBe(true);
    expect((await stat(join(to, "hole"))).blocks).toBe(0);
    expect(existsSync(Buffer.concat([Buffer.from(`${to}/`), Buffer.from([0xff, 0x0a, 0x2d])]))).toBe(true);
  });

  it("copies what has changed under the same size and time, and shares the rest with the copy below", async () => {
    await using place = await twoFolders();
    const { from, to: below, third } = place;
    const time = new Date("2026-01-01");
    for (const name of ["same", "changed"]) {
      await writeFile(join(from, name), name.padEnd(100_000));
      await utimes(join(from, name), time, time);
    }
    await writeBack(from, signal);
    await copyTree(from, below, { signal });
    const { ctimeMs } = await stat(join(from, "same"));
    const since = Math.ceil(ctimeMs) + 200; // beyond what is allowed for clocks' ticks
    await eventually(() => Date.now() > since);
    await writeFile(join(from, "changed"), "CHANGED".padEnd(100_000));
    await utimes(join(from, "changed"), time, time);

    await copyTree(from, third, { isLive: true, linkTo: below, signal });
    await dropChanged(from, third, since, signal);
    await copyTree(from, third, { signal });

    expect((await readFile(join(third, "changed"), "utf8")).trimEnd()).toBe("CHANGED");
    expect((await readFile(join(below, "changed"), "utf8")).trimEnd()).toBe("changed");
    expect((await stat(join(third, "same"))).ino).toBe((await stat(join(below, "same"))).ino);
    expect(await ownBytes(third, below, signal)).toBeLessThan(200_000);
  });

  it("removes nothing of the host where a link in the copy has become a folder", async () => {
    await using place = await twoFolders();
    const { from, to, third: host } = place;
    await writeFile(join(host, "password"), "of the host");
    await symlink(host, join(from, "folder"));
    await copyTree(from, to, { signal });
    await rm(join(from, "folder"));
    await mkdir(join(from, "folder"));
    await writeFile(join(from, "folder", "password"), "of the container");

    await dropChanged(from, to, 0, signal);
    await copyTree(from, to, { signal });

    expect(await readFile(join(host, "password"), "utf8")).toBe("of the host");
    expect(await readFile(join(to, "folder", "password"), "utf8")).toBe("of the container");
  });
});

async function twoFolders() {
  const folder = temporaryFolder();
  const [from, to, third] = ["from", "to", "third"].map((name) => join(folder.path, name)) as [string, string, string];
  for (const path of [from, to, third]) await mkdir(path);
  return { from, to, third, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}
