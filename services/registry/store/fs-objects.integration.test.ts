import { randomBytes } from "node:crypto";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { PiecesSource } from "./byte-source.ts";
import { FsObjects } from "./fs-objects.ts";
import { objectStoreContract } from "./object-store.contract.ts";

const folder = temporaryFolder();
const store = await FsObjects.open(folder.path);

afterAll(async () => {
  expect(await readdir(join(folder.path, "tmp"))).toEqual([]);
  await folder[Symbol.asyncDispose]();
});

objectStoreContract("FsObjects", () => store);

test("another process may assemble the same, and finds it done", async () => {
  await store.put("twice/piece", "content");
  const both = [1, 2].map(() => store.assemble(["twice/piece"], "twice/whole"));
  await Promise.all(both);
  expect((await store.read("twice/whole"))?.bytes.toString()).toBe("content");
});

test("what a crash left in the making is swept once it is old", async () => {
  const long = new Date(Date.now() - 100_000);
  for (const name of ["old", "new"]) await writeFile(join(folder.path, "tmp", name), "half a blob");
  await utimes(join(folder.path, "tmp", "old"), long, long);
  await store.sweep(new Date(Date.now() - 50_000));
  expect(await readdir(join(folder.path, "tmp"))).toEqual(["new"]);
  await store.sweep(new Date(Date.now() + 5_000));
});

test("a folder that cannot be written is no lost content", async () => {
  await mkdir(join(folder.path, "blocked"));
  await writeFile(join(folder.path, "blocked", "file"), "");
  await expect(
    store.receive("blocked/file/below", new PiecesSource(Readable.from([randomBytes(10)]))),
  ).rejects.toThrow();
  expect(await readdir(join(folder.path, "tmp"))).toEqual([]);
});
