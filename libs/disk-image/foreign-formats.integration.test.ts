import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "#libs/testing";
import type { ImageFormat } from "./image-format.ts";
import { rawDiskOf } from "./raw-disk.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;
const SIZE = 32 * MIB;

const resources = new AsyncDisposableStack();
let folder: string;
let raw: string;

beforeAll(async () => {
  folder = resources.use(temporaryFolder()).path;
  raw = join(folder, "disk.raw");
  await using file = await open(raw, "w");
  await file.truncate(SIZE);
  await file.write(randomBytes(MIB), 0, MIB, 0);
  await file.write(randomBytes(MIB), 0, MIB, 20 * MIB);
});

afterAll(() => resources.disposeAsync());

async function make(name: string, format: string, ...options: string[]): Promise<string> {
  const path = join(folder, name);
  await run("qemu-img", ["convert", "-f", "raw", "-O", format, ...options, raw, path]);
  return path;
}

/** Imports, and sees to it that a refusal leaves nothing. */
async function disk(path: string, options: { format?: ImageFormat; disk?: string; maxVirtualSizeBytes?: number } = {}) {
  const work = join(folder, `work-${randomBytes(4).toString("hex")}`);
  await mkdir(work);
  try {
    return await rawDiskOf({ path, folder: work, ...options });
  } catch (error) {
    expect(await readdir(work)).toEqual([]);
    throw error;
  }
}

/** Writes into the middle of a file. */
async function patch(path: string, at: number, bytes: Buffer | string): Promise<string> {
  await using file = await open(path, "r+");
  await file.write(Buffer.from(bytes), 0, undefined, at);
  return path;
}

describe("an image of another hypervisor", () => {
  it.each([
    ["vmdk", "monolithicSparse"],
    ["vmdk", "streamOptimized"],
    ["vhdx", "dynamic"],
    ["vhdx", "fixed"],
    ["vpc", "dynamic"],
    ["vpc", "fixed"],
  ])(
    "in %s, %s, is known by its content whatever its name, and becomes the same sparse raw disk",
    async (format, kind) => {
      // VHD rounds the size to what its geometry can say unless it is told not to.
      const exact = format === "vpc" ? ",force_size=on" : "";
      const path = await make(`${format}-${kind}.img`, format, "-o", `subformat=${kind}${exact}`);
      const found = await disk(path);
      expect((await readFile(found)).equals(await readFile(raw))).toBe(true);
      expect((await stat(found)).blocks * 512).toBeLessThan(4 * MIB);
      await expect(disk(path, { maxVirtualSizeBytes: SIZE - 512 })).rejects.toMatchObject({
        reason: "IMAGE_TOO_LARGE",
      });
    },
  );

  it("is read as what the user says it is, and as nothing else", async () => {
    const vhdx = await make("said.vhdx", "vhdx");
    expect(await disk(vhdx, { format: "raw" })).toBe(vhdx);
    await expect(disk(vhdx, { format: "vmdk" })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(disk(vhdx, { format: "vhd" })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(disk(vhdx, { format: "qcow2" })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(disk(raw, { format: "vhdx" })).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    await expect(disk(raw, { format: "ova" })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(disk(vhdx, { disk: "x" })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
  });

  it.each(["twoGbMaxExtentSparse", "monolithicFlat", "twoGbMaxExtentFlat"])(
    "in a VMDK of several files (%s) is refused, with --format too",
    async (kind) => {
      const path = await make(`${kind}.vmdk`, "vmdk", "-o", `subformat=${kind}`);
      await expect(disk(path)).rejects.toMatchObject({ reason: "IMAGE_INVALID", help: expect.stringContaining("OVA") });
      await expect(disk(path, { format: "vmdk" })).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    },
  );

  it("in a VMDK that names another file or a parent is refused before QEMU could read that", async () => {
    const secret = join(folder, "secret.img");
    await writeFile(secret, randomBytes(MIB));
    const child = join(folder, "child.vmdk");
    const parent = await make("parent.vmdk", "vmdk");
    await run("qemu-img", ["create", "-q", "-f", "vmdk", "-b", parent, "-F", "vmdk", child]);
    await expect(disk(child)).rejects.toMatchObject({ reason: "IMAGE_BACKING_FILE" });
    const descriptor = [
      "# Disk DescriptorFile",
      "version=1",
      "CID=12345678",
      "parentCID=ffffffff",
      'createType="monolithicFlat"',
      `RW ${SIZE / 512} FLAT "${secret}" 0`,
    ].join("\n");
    const evil = await patch(await make("evil.vmdk", "vmdk"), 512, `${descriptor}\n\0`);
    await expect(disk(evil)).rejects.toMatchObject({ reason: "IMAGE_DATA_FILE" });
    // No capacity: QEMU would follow that list of files.
    await patch(evil, 12, Buffer.alloc(8));
    await expect(disk(evil)).rejects.toMatchObject({ reason: "IMAGE_DATA_FILE" });
    const hidden = await patch(await make("hidden.vmdk", "vmdk"), 28, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0]));
    await expect(disk(hidden)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });

  it("that is a difference to a parent is refused as VHD and as VHDX", async () => {
    const vhd = await patch(await make("child.vhd", "vpc"), 60, Buffer.from([0, 0, 0, 4]));
    await expect(disk(vhd)).rejects.toMatchObject({ reason: "IMAGE_BACKING_FILE" });
    const vhdx = await make("child.vhdx", "vhdx");
    // MS-VHDX 2.6.2.1: the item of this GUID has the flag HasParent; its entry says where it is in the metadata region.
    const bytes = await readFile(vhdx);
    const parameters = Buffer.from("3767a1ca36fa434db3b633f0aa44e76b", "hex");
    const entry = bytes.indexOf(parameters);
    const region = bytes.lastIndexOf(Buffer.from("metadata"), entry);
    await patch(vhdx, region + bytes.readUInt32LE(entry + 16) + 4, Buffer.from([2]));
    await expect(disk(vhdx)).rejects.toMatchObject({
      reason: "IMAGE_CORRUPT",
      help: expect.stringContaining("parent"),
    });
  });

  it("that is cut short, or claims to be of 60 TiB, is refused", async () => {
    for (const format of ["vmdk", "vhdx", "vpc"]) {
      const cut = await make(`cut.${format}`, format);
      await truncate(cut, 200);
      await expect(disk(cut)).rejects.toMatchObject({ reason: expect.stringMatching(/IMAGE_(CORRUPT|INVALID)/) });
    }
    const huge = join(folder, "huge.vhdx");
    await run("qemu-img", ["create", "-q", "-f", "vhdx", huge, "60T"]);
    await expect(disk(huge)).rejects.toMatchObject({ reason: "IMAGE_TOO_LARGE" });
  });
});
