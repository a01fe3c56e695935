import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { link, mkdir, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { backingChain, diskInfo } from "./backing-chain.ts";
import { checkImage } from "./check-image.ts";
import { convertToRaw, dataRanges, readGuestBytes } from "./contents.ts";
import { inspectImage } from "./inspect-image.ts";
import { commitOverlay, createEmpty, createOverlay } from "./overlays.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

/** A raw disk with data at the start and at 20 MiB. */
async function makeRaw(path: string): Promise<string> {
  await using file = await open(path, "w");
  await file.truncate(32 * MIB);
  await file.write(randomBytes(MIB), 0, MIB, 0);
  await file.write(randomBytes(MIB), 0, MIB, 20 * MIB);
  return path;
}

async function write(path: string, byte: number, at: string): Promise<void> {
  await run("qemu-io", ["-f", "qcow2", "-c", `write -P ${byte} ${at} 64k`, path]);
}

describe("images that users hand in", () => {
  it("qcow2 becomes the same raw disk, sparse", async () => {
    await using folder = temporaryFolder();
    const raw = await makeRaw(join(folder.path, "disk.raw"));
    const qcow2 = join(folder.path, "disk.qcow2");
    const target = join(folder.path, "out.raw");
    await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", "-c", raw, qcow2]);
    expect(await convertToRaw({ path: qcow2, target })).toEqual({ format: "qcow2", virtualSizeBytes: 32 * MIB });
    expect((await readFile(target)).equals(await readFile(raw))).toBe(true);
    expect((await stat(target)).blocks * 512).toBeLessThan(4 * MIB);
    await expect(convertToRaw({ path: qcow2, target })).rejects.toThrow("EEXIST");
  });

  it("a backing file is refused before qemu-img could read it", async () => {
    await using folder = temporaryFolder();
    const secret = join(folder.path, "secret.txt");
    await writeFile(secret, "top secret".padEnd(65_536, "."));
    const evil = join(folder.path, "evil.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", evil]);
    const target = join(folder.path, "out.raw");
    await expect(convertToRaw({ path: evil, target })).rejects.toMatchObject({ reason: "IMAGE_BACKING_FILE" });
    expect((await readdir(folder.path)).sort()).toEqual(["evil.qcow2", "secret.txt"]);
  });

  it("an external data file is refused", async () => {
    await using folder = temporaryFolder();
    const evil = join(folder.path, "evil.qcow2");
    const data = join(folder.path, "data");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", `data_file=${data}`, evil, "10M"]);
    await expect(inspectImage(evil)).rejects.toMatchObject({ reason: "IMAGE_DATA_FILE" });
  });

  it("a small file of 64 TiB is refused by its virtual size", async () => {
    await using folder = temporaryFolder();
    const huge = join(folder.path, "huge.qcow2");
    await run("qemu-img", ["create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", huge, "64T"]);
    await expect(inspectImage(huge)).rejects.toMatchObject({ reason: "IMAGE_TOO_LARGE" });
    await expect(inspectImage(huge, { maxVirtualSizeBytes: 2 ** 50 })).resolves.toMatchObject({ format: "qcow2" });
  });

  it("one that is cut short is refused and leaves nothing", async () => {
    await using folder = temporaryFolder();
    const cut = join(folder.path, "cut.qcow2");
    await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", await makeRaw(join(folder.path, "disk.raw")), cut]);
    await truncate(cut, MIB);
    const target = join(folder.path, "out.raw");
    await expect(convertToRaw({ path: cut, target })).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    await truncate(cut, 200);
    await expect(convertToRaw({ path: cut, target })).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    await truncate(cut, 50);
    await expect(convertToRaw({ path: cut, target })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    expect((await readdir(folder.path)).sort()).toEqual(["cut.qcow2", "disk.raw"]);
  });

  it("an abort ends the conversion and leaves nothing", async () => {
    await using folder = temporaryFolder();
    const qcow2 = join(folder.path, "disk.qcow2");
    await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", await makeRaw(join(folder.path, "disk.raw")), qcow2]);
    const target = join(folder.path, "out.raw");
    const aborted = convertToRaw({ path: qcow2, target }, { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ reason: "CANCELLED" });
    expect((await readdir(folder.path)).sort()).toEqual(["disk.qcow2", "disk.raw"]);
  });

  it("a file that is missing or a folder says so", async () => {
    await using folder = temporaryFolder();
    await expect(inspectImage(join(folder.path, "nothing"))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(inspectImage(folder.path)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });
});

describe("chains of overlays", () => {
  async function makeChain(folder: string) {
    const base = await makeRaw(join(folder, "base,1.raw"));
    const middle = join(folder, "middle.qcow2");
    const top = join(folder, "top.qcow2");
    await createOverlay({ path: middle, backing: base, backingFormat: "raw" });
    await write(middle, 0x11, "4M");
    await createOverlay({ path: top, backing: middle, backingFormat: "qcow2", sizeBytes: 64 * MIB });
    await write(top, 0x22, "8M");
    return { base, middle, top };
  }
  const at = async (path: string, offset: number) =>
    (await readGuestBytes({ path, format: "qcow2", offset, length: 512 }))[0];

  it("are read from their headers, and through their contents", async () => {
    await using folder = temporaryFolder();
    const { base, middle, top } = await makeChain(folder.path);
    expect(await backingChain(top)).toEqual([
      { path: top, format: "qcow2", virtualSizeBytes: 64 * MIB },
      { path: middle, format: "qcow2", virtualSizeBytes: 32 * MIB },
      { path: base, format: "raw", virtualSizeBytes: 32 * MIB },
    ]);
    expect(await diskInfo(top, "qcow2")).toMatchObject({ backing: middle, backingFormat: "qcow2" });
    expect([await at(top, 8 * MIB), await at(top, 4 * MIB)]).toEqual([0x22, 0x11]);
    const start = await readGuestBytes({ path: top, format: "qcow2", offset: 1024, length: 1024 });
    expect(start.equals((await readFile(base)).subarray(1024, 2048))).toBe(true);
    expect(await readGuestBytes({ path: top, format: "qcow2", offset: 1030, length: 700 })).toEqual(
      start.subarray(6, 706),
    );
    expect(await readGuestBytes({ path: base, format: "raw", offset: 1024, length: 1024 })).toEqual(start);
    expect(await checkImage(top)).toEqual({ corruptions: 0, leaks: 0 });
    expect(await dataRanges(base, "raw")).toEqual([
      { offset: 0, length: MIB },
      { offset: 20 * MIB, length: MIB },
    ]);
  });

  it("are read while another process has them open for writing", async () => {
    await using folder = temporaryFolder();
    const { top } = await makeChain(folder.path);
    const writer = spawn("qemu-io", ["-f", "qcow2", top]);
    const ended = once(writer, "exit");
    writer.stdin.write("read 0 512\n");
    await once(writer.stdout, "data");
    await expect(run("qemu-img", ["info", "-f", "qcow2", top])).rejects.toThrow(/lock/);
    expect(await at(top, 8 * MIB)).toBe(0x22);
    expect(await backingChain(top)).toHaveLength(3);
    writer.stdin.end("quit\n");
    await ended;
  });

  it("are written down into a layer without a change for the guest", async () => {
    await using folder = temporaryFolder();
    const { middle } = await makeChain(folder.path);
    const upper = join(folder.path, "upper.qcow2");
    await createOverlay({ path: upper, backing: middle, backingFormat: "qcow2" });
    await write(upper, 0x33, "12M");
    await commitOverlay({ path: upper, base: middle });
    expect([await at(middle, 12 * MIB), await at(middle, 4 * MIB)]).toEqual([0x33, 0x11]);
  });

  it("of hard links are whole in another folder", async () => {
    await using folder = temporaryFolder();
    const [bottom, top] = [join(folder.path, "bottom.qcow2"), join(folder.path, "top.qcow2")];
    await createEmpty({ path: bottom, sizeBytes: MIB });
    await createOverlay({ path: top, backing: bottom, backingFormat: "qcow2" });
    const other = join(folder.path, "other");
    await mkdir(other);
    for (const path of [bottom, top]) await link(path, join(other, basename(path)));
    const chain = await backingChain(join(other, "top.qcow2"));
    expect(chain.map(({ path }) => path)).toEqual([join(other, "top.qcow2"), join(other, "bottom.qcow2")]);
  });

  it("never overwrite a file, and leave nothing when they cannot be made", async () => {
    await using folder = temporaryFolder();
    const path = join(folder.path, "disk.qcow2");
    await createEmpty({ path, sizeBytes: 10 * MIB });
    await write(path, 0x44, "0");
    await expect(createEmpty({ path, sizeBytes: MIB })).rejects.toMatchObject({ reason: "INTERNAL" });
    expect(await at(path, 0)).toBe(0x44);
    const backing = join(folder.path, "absent");
    const other = join(folder.path, "other.qcow2");
    await expect(createOverlay({ path: other, backing, backingFormat: "raw" })).rejects.toThrow(/absent/);
    await expect(createOverlay({ path: "json:{}", backing, backingFormat: "raw" })).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
    });
    expect(await readdir(folder.path)).toEqual(["disk.qcow2"]);
  });

  it("a damaged overlay is found, and a backing file of no stated format refused", async () => {
    await using folder = temporaryFolder();
    const { middle, top } = await makeChain(folder.path);
    await truncate(middle, 5 * 65_536);
    expect((await checkImage(middle)).corruptions).toBeGreaterThan(0);
    await using file = await open(top, "r+");
    const header = (await file.read(Buffer.alloc(4096), 0, 4096, 0)).buffer;
    const extension = header.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
    expect(extension).toBeGreaterThan(0);
    await file.write(Buffer.from([0x11, 0x11, 0x11, 0x11]), 0, 4, extension);
    await expect(backingChain(top)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });
});
