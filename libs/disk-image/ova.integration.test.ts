import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { rawDiskOf } from "./raw-disk.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

const resources = new AsyncDisposableStack();
let folder: string;
/** A raw disk and what it is as a VMDK of the kind that OVAs have. */
let raw: Buffer;
let vmdk: Buffer;

beforeAll(async () => {
  folder = resources.use(temporaryFolder()).path;
  raw = Buffer.alloc(16 * MIB);
  randomBytes(MIB).copy(raw, 3 * MIB);
  await writeFile(join(folder, "disk.raw"), raw);
  const target = join(folder, "disk.vmdk");
  const options = ["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
  await run("qemu-img", ["convert", ...options, join(folder, "disk.raw"), target]);
  vmdk = await readFile(target);
});

afterAll(() => resources.disposeAsync());

interface Disk {
  readonly id: string;
  readonly file: string;
  readonly more?: string;
  readonly capacity?: string;
}

function ovf(disks: readonly Disk[], { files = "", before = "" } = {}): Buffer {
  const references = disks.map(({ file }, index) => `<File ovf:href="${file}" ovf:id="file${index}"/>`);
  const described = disks.map(
    ({ id, capacity = "16", more = "" }, index) =>
      `<Disk ovf:capacity="${capacity}" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="${id}" ovf:fileRef="file${index}" ${more}/>`,
  );
  return Buffer.from(`<?xml version="1.0"?>${before}
    <Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
      <References>${references.join("")}${files}</References>
      <DiskSection><Info>Disks</Info>${described.join("")}</DiskSection>
    </Envelope>`);
}

const one = (more: Partial<Disk> = {}) => ovf([{ id: "vmdisk1", file: "disk.vmdk", ...more }]);
const manifest = (algorithm: string, files: Record<string, Buffer>) =>
  Buffer.from(
    Object.entries(files)
      .map(([name, bytes]) => `${algorithm}(${name})= ${createHash(algorithm).update(bytes).digest("hex")}\n`)
      .join(""),
  );

type Entry = readonly [name: string, content: Buffer] | readonly [name: string, content: null, header: object];

async function ova(...entries: readonly Entry[]): Promise<string> {
  const path = join(folder, `${randomBytes(4).toString("hex")}.ova`);
  const archive = pack();
  for (const [name, content, header] of entries) {
    if (content === null) archive.entry({ name, ...header });
    else archive.entry({ name }, content);
  }
  archive.finalize();
  await pipeline(archive, createWriteStream(path));
  return path;
}

/** Imports, and sees to it that only the disk stays, or nothing. */
async function disk(path: string, options: { disk?: string; maxVirtualSizeBytes?: number } = {}): Promise<Buffer> {
  const work = join(folder, `work-${randomBytes(4).toString("hex")}`);
  await mkdir(work);
  try {
    const found = await rawDiskOf({ path, folder: work, ...options });
    expect(await readdir(work)).toHaveLength(1);
    return await readFile(found);
  } catch (error) {
    expect((await readdir(work)).filter((name) => name !== "disk.packed")).toEqual([]);
    throw error;
  }
}

describe("an OVA", () => {
  it("gives its one disk, in whatever order its files are, with digests or without", async () => {
    const files = { "box.ovf": one(), "disk.vmdk": vmdk };
    const plain = await ova(["disk.vmdk", vmdk], ["box.ovf", one()], ["box.iso", randomBytes(5000)]);
    expect((await disk(plain)).equals(raw)).toBe(true);
    for (const algorithm of ["SHA1", "SHA256", "SHA512"]) {
      const list = manifest(algorithm, files);
      const listed = await ova(["./box.ovf", one()], ["box.mf", list], ["./disk.vmdk", vmdk]);
      expect((await disk(listed)).equals(raw)).toBe(true);
    }
  });

  it("gives disks that are raw, compressed with gzip, or both", async () => {
    const packed = await ova(["box.ovf", one({ file: "disk.img.gz" })], ["disk.img.gz", gzipSync(raw)]);
    expect((await disk(packed)).equals(raw)).toBe(true);
    const both = await ova(["box.ovf", one({ file: "disk.vmdk.gz" })], ["disk.vmdk.gz", gzipSync(vmdk)]);
    expect((await disk(both)).equals(raw)).toBe(true);
  });

  it("with several disks says which there are, and gives the one that is chosen", async () => {
    const second = Buffer.concat([randomBytes(512), Buffer.alloc(16 * MIB - 512)]);
    const disks = [
      { id: "vmdisk1", file: "disk.vmdk" },
      { id: "vmdisk2", file: "data.img" },
    ];
    const box = await ova(["box.ovf", ovf(disks)], ["disk.vmdk", vmdk], ["data.img", second]);
    await expect(disk(box)).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
      message: expect.stringContaining("vmdisk1 (disk.vmdk), vmdisk2 (data.img)"),
      help: expect.stringContaining("--disk"),
    });
    await expect(disk(box, { disk: "vmdisk3" })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    expect((await disk(box, { disk: "vmdisk1" })).equals(raw)).toBe(true);
    expect((await disk(box, { disk: "data.img" })).equals(second)).toBe(true);
  });

  it("that is not what its digests say, lacks a file, or is cut short is refused", async () => {
    const changed = Buffer.from(vmdk);
    changed.writeUInt8(changed.readUInt8(MIB / 2) ^ 1, MIB / 2);
    const list = manifest("SHA256", { "box.ovf": one(), "disk.vmdk": vmdk });
    const wrong = await ova(["box.ovf", one()], ["box.mf", list], ["disk.vmdk", changed]);
    await expect(disk(wrong)).rejects.toMatchObject({
      reason: "IMAGE_CORRUPT",
      message: expect.stringContaining("disk.vmdk"),
    });
    const lacking = await ova(["box.ovf", one()], ["box.mf", list]);
    await expect(disk(lacking)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    const odd = await ova(["box.ovf", one()], ["box.mf", Buffer.from("MD5(x)= 00\n")], ["disk.vmdk", vmdk]);
    await expect(disk(odd)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    const cut = await ova(["box.ovf", one()], ["disk.vmdk", vmdk]);
    await truncate(cut, 50_000);
    await expect(disk(cut)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    const badGzip = await ova(["box.ovf", one()], ["disk.vmdk", gzipSync(vmdk).subarray(0, 20_000)]);
    await expect(disk(badGzip)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
  });

  it.each([
    ["a path upwards", ["../../etc/cron.d/x", Buffer.from("x")]],
    ["an absolute path", ["/etc/passwd", Buffer.from("x")]],
    ["a path in the other direction", ["..\\x", Buffer.from("x")]],
    ["a folder", ["folder/", null, { type: "directory" }]],
    ["a file in a folder", ["a/b.vmdk", Buffer.from("x")]],
    ["a symbolic link", ["disk2.vmdk", null, { type: "symlink", linkname: "/etc/passwd" }]],
    ["a hard link", ["disk2.vmdk", null, { type: "link", linkname: "/etc/passwd" }]],
    ["a device", ["disk2.vmdk", null, { type: "block-device", devmajor: 8, devminor: 0 }]],
    ["a name twice", ["disk.vmdk", Buffer.from("x")]],
    ["a descriptor that is huge", ["other.ovf", Buffer.alloc(4 * MIB + 1)]],
    ["two descriptors", ["other.ovf", Buffer.from("<a/>")]],
  ] satisfies [string, Entry][])("with %s in it is refused", async (_case, entry) => {
    const box = await ova(["box.ovf", one()], ["disk.vmdk", vmdk], entry);
    await expect(disk(box)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });

  it("of a thousand files and more, or that is no tar, is refused", async () => {
    const many = Array.from({ length: 1001 }, (_, index): Entry => [`file${index}`, Buffer.alloc(0)]);
    await expect(disk(await ova(...many))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    const broken = await ova(["box.ovf", one()], ["disk.vmdk", vmdk]);
    await using file = await open(broken, "r+");
    await file.write("x", 100);
    await expect(disk(broken)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });

  it.each([
    ["entities", ovf([], { before: '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' })],
    ["no XML", Buffer.from("<Envelope")],
    ["no disks", Buffer.from("<Envelope/>")],
    [
      "no disk with data",
      Buffer.from(
        "<Envelope><References><File id='a' href='b'/></References><DiskSection><Disk diskId='d'/></DiskSection></Envelope>",
      ),
    ],
    [
      "a disk of no file",
      Buffer.from(
        "<Envelope><References><File id='a' href='b'/></References><DiskSection><Disk diskId='d' fileRef='x'/></DiskSection></Envelope>",
      ),
    ],
    [
      "a disk in pieces",
      Buffer.from(
        "<Envelope><References><File id='a' href='b' chunkSize='1'/></References><DiskSection><Disk diskId='d' fileRef='a'/></DiskSection></Envelope>",
      ),
    ],
    ["a prototype", Buffer.from("<Envelope><__proto__><x>1</x></__proto__></Envelope>")],
  ])("whose descriptor has %s is refused", async (_case, descriptor) => {
    const box = await ova(["box.ovf", descriptor], ["disk.vmdk", vmdk]);
    await expect(disk(box)).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });

  it("without a descriptor, with a missing disk, a child disk or another archive as disk is refused", async () => {
    await expect(disk(await ova(["disk.vmdk", vmdk]))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    await expect(disk(await ova(["box.ovf", one()]))).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    const child = await ova(["box.ovf", one({ more: 'ovf:parentRef="x"' })], ["disk.vmdk", vmdk]);
    await expect(disk(child)).rejects.toMatchObject({ reason: "IMAGE_BACKING_FILE" });
    const inner = await readFile(await ova(["box.ovf", one()], ["disk.vmdk", vmdk]));
    await expect(disk(await ova(["box.ovf", one()], ["disk.vmdk", inner]))).rejects.toMatchObject({
      reason: "IMAGE_INVALID",
    });
  });

  it("that is a bomb is refused: by the capacity it claims, and by more data than that", async () => {
    const huge = await ova(["box.ovf", one({ capacity: String(2 ** 33) })], ["disk.vmdk", vmdk]);
    await expect(disk(huge)).rejects.toMatchObject({ reason: "IMAGE_TOO_LARGE" });
    const bomb = await ova(["box.ovf", one({ capacity: "1" })], ["disk.vmdk", gzipSync(Buffer.alloc(80 * MIB))]);
    await expect(disk(bomb)).rejects.toMatchObject({ reason: "IMAGE_TOO_LARGE" });
    // A VMDK whose own header claims more than the quota.
    const wide = join(folder, "wide.vmdk");
    await run("qemu-img", ["create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", wide, "1T"]);
    const lying = await ova(["box.ovf", one()], ["disk.vmdk", await readFile(wide)]);
    await expect(disk(lying, { maxVirtualSizeBytes: 2 ** 39 })).rejects.toMatchObject({ reason: "IMAGE_TOO_LARGE" });
  });
});
