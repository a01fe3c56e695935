import { randomBytes } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changedRanges, createEmpty, createOverlay, dataRanges, openGuestDisk } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { temporaryFolder } from "#libs/testing";
import { digestOf } from "./digest.ts";
import { exportCheckpoint } from "./export-checkpoint.ts";
import { importCheckpoint } from "./import-checkpoint.ts";
import { mediaTypes } from "./manifest.ts";
import { MemoryRegistry } from "./memory-registry.ts";
import { bytesToFetch, fetchDisk, fetchRam, findRemoteCheckpoint } from "./pull-checkpoint.ts";
import { type PushedCheckpoint, pushCheckpoint } from "./push-checkpoint.ts";
import { readReceipt } from "./receipt-referrer.ts";

const MIB = 2 ** 20;
const SIZE = 32 * MIB;

async function write(path: string, offset: number, bytes: Buffer): Promise<void> {
  await using disk = await openGuestDisk({ path, format: "qcow2", writable: true });
  await disk.write(offset, bytes);
  await disk.flush();
}

async function guestBytes(path: string): Promise<Buffer> {
  await using disk = await openGuestDisk({ path, format: "qcow2" });
  return await disk.read(0, SIZE);
}

const config = (kind: "production" | "standard") => ({
  ...{ consistency: "application", kind, uid: "ckpt-1", name: "projects/p/vms/v/checkpoints/ckpt-1" },
  ...{ displayName: "first", parent: "", createTime: "2026-01-01T00:00:00Z", spec: {}, machine: {}, paused: false },
});

/** A disk of two layers, its first checkpoint pushed. */
async function pushedDisk(folder: string) {
  const registry = new MemoryRegistry();
  const [base, top, ram] = [join(folder, "base.qcow2"), join(folder, "top.qcow2"), join(folder, "ram")];
  await createEmpty({ path: base, sizeBytes: SIZE });
  await write(base, MIB, randomBytes(2 * MIB));
  await createOverlay({ path: top, backing: base, backingFormat: "qcow2" });
  await write(top, 20 * MIB, randomBytes(MIB));
  await writeFile(ram, randomBytes(20 * MIB));
  const push = async (tag: string, kind: "production" | "standard" = "production", parent?: PushedCheckpoint) => {
    const disk = { id: "root", virtualSizeBytes: SIZE, path: () => top, format: "qcow2" as const };
    const known = parent === undefined ? [] : (await findRemoteCheckpoint(registry, "vm:one")).disks[0]?.chunks;
    const ranges = parent === undefined ? await dataRanges(top, "qcow2") : await changedRanges([top]);
    return await pushCheckpoint({
      ...{ registry, repository: "vm", tag, config: config(kind), receipt: { said: tag } },
      disks: [{ ...disk, ranges, known: known ?? [] }],
      ...(kind === "standard" && { ram }),
      ...(parent && { subject: parent.descriptor }),
    });
  };
  return { registry, top, ram, push };
}

describe("a checkpoint in a registry", () => {
  it("of more chunks than a manifest can list is an index of manifests, of which the next sends only what changed", async () => {
    await using folder = temporaryFolder();
    const registry = new MemoryRegistry();
    const path = join(folder.path, "root.qcow2");
    const virtualSizeBytes = 8 * 1024 * MIB;
    await createEmpty({ path, sizeBytes: virtualSizeBytes });
    // All but the first chunk are of an earlier checkpoint, which lies in the registry.
    const known = Array.from({ length: 25_000 }, (_, index) => ({
      ...{ offset: (index + 1) * 262_144, length: 262_144, contentDigest: digestOf(Buffer.from(`${index}`)) },
      blob: { mediaType: mediaTypes.diskChunk, digest: digestOf(Buffer.from(`packed ${index}`)), size: 100_000 },
    }));
    const push = async (tag: string) => {
      await write(path, 0, randomBytes(4096));
      const disk = { id: "root", virtualSizeBytes, path: () => path, format: "qcow2" as const };
      return await pushCheckpoint({
        ...{ registry, repository: "vm", tag, config: config("production"), receipt: { said: tag } },
        disks: [{ ...disk, ranges: [{ offset: 0, length: 4096 }], known }],
      });
    };
    const first = await push("one");
    expect([first.descriptor.mediaType, first.totalChunks, first.sentChunks]).toEqual([mediaTypes.index, 25_001, 1]);
    const second = await push("two");
    // The chunk, one of the four groups, and the index with its config and receipt.
    expect(second.sentBytes).toBeLessThan(first.sentBytes / 2);
    const { disks } = await findRemoteCheckpoint(registry, "vm:two");
    expect(disks[0]?.chunks.slice(1)).toEqual(known);
    expect(await readReceipt(registry, { repository: "vm", digest: second.descriptor.digest })).toEqual({
      said: "two",
    });
  });

  it("comes back as a disk that stands alone, with its RAM and its receipt", async () => {
    await using folder = temporaryFolder();
    const { registry, top, ram, push } = await pushedDisk(folder.path);
    const pushed = await push("one", "standard");
    expect([pushed.totalChunks, pushed.sentChunks]).toEqual([12, 12]);
    const checkpoint = await findRemoteCheckpoint(registry, "vm:one");
    const [disk] = checkpoint.disks;
    if (disk === undefined) throw new Error("no disk");
    let got = 0;
    const onBytes = (bytes: number) => {
      got += bytes;
    };
    const file = (name: string) => ({ registry, checkpoint, path: join(folder.path, name), onBytes });
    // Away for a moment in the middle of each.
    const readBlob = registry.readBlob.bind(registry);
    const awayAt = new Set([3, disk.chunks.length + 2]);
    registry.readBlob = async (...args) => {
      const nth = registry.counts.readBlob;
      if (awayAt.delete(nth)) throw new StillpointError("REGISTRY_UNREACHABLE", "away");
      return await readBlob(...args);
    };
    await fetchDisk(disk, file("root.qcow2"));
    await fetchRam(file("ram.back"));
    expect(awayAt.size).toBe(0);
    expect((await guestBytes(join(folder.path, "root.qcow2"))).equals(await guestBytes(top))).toBe(true);
    expect((await readFile(join(folder.path, "ram.back"))).equals(await readFile(ram))).toBe(true);
    expect(got).toBe(bytesToFetch(checkpoint));
    expect(await readReceipt(registry, { repository: "vm", digest: pushed.descriptor.digest })).toEqual({
      said: "one",
    });

    const reads = registry.counts.readBlob;
    await fetchDisk(disk, file("root.qcow2"));
    await fetchRam(file("ram.back"));
    expect(registry.counts.readBlob).toBe(reads);
  });

  it("is followed by one that reads and sends what changed, zeros too", async () => {
    await using folder = temporaryFolder();
    const { registry, top, push } = await pushedDisk(folder.path);
    const first = await push("one");
    await write(top, 2 * MIB, Buffer.alloc(MIB));
    await write(top, 30 * MIB, randomBytes(4096));
    const puts = registry.counts.putBlob;
    const second = await push("two", "production", first);
    expect([second.totalChunks, second.sentChunks]).toEqual([9, 1]);
    // A chunk, config and receipt.
    expect(registry.counts.putBlob - puts).toBe(3);
    expect(await registry.referrers("vm", first.descriptor.digest)).toHaveLength(2);
    const checkpoint = await findRemoteCheckpoint(registry, "vm:two");
    const [disk] = checkpoint.disks;
    if (disk === undefined) throw new Error("no disk");
    await fetchDisk(disk, { registry, checkpoint, path: join(folder.path, "two.qcow2") });
    expect((await guestBytes(join(folder.path, "two.qcow2"))).equals(await guestBytes(top))).toBe(true);
    const again = await push("two", "production", first);
    expect([again.sentBytes, again.descriptor]).toEqual([0, second.descriptor]);
  });

  it("of which a chunk was altered or is gone is refused", async () => {
    await using folder = temporaryFolder();
    const { registry, push } = await pushedDisk(folder.path);
    await push("one");
    const checkpoint = await findRemoteCheckpoint(registry, "vm:one");
    const [disk] = checkpoint.disks;
    const blob = disk?.chunks[5]?.blob;
    if (disk === undefined || blob === undefined) throw new Error("no chunk");
    const fetch = () => fetchDisk(disk, { registry, checkpoint, path: join(folder.path, "back.qcow2") });
    const key = `vm@${blob.digest}`;
    registry.blobs.set(key, Buffer.from(registry.blobs.get(key) ?? []).fill(1, 100, 101));
    await expect(fetch()).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    registry.blobs.delete(key);
    await expect(fetch()).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
  });
});

describe("an exported checkpoint", () => {
  async function exported(folder: string) {
    const source = await pushedDisk(folder);
    await source.push("one", "standard");
    const target = join(folder, "exported");
    const { checkpoint } = await exportCheckpoint({ registry: source.registry, reference: "vm:one", folder: target });
    expect(checkpoint.consistency).toBe("application");
    return { ...source, target };
  }

  it("says first what it promises, and is the same checkpoint again in another registry", async () => {
    await using folder = temporaryFolder();
    const { registry, target } = await exported(folder.path);
    const text = await readFile(join(target, "checkpoint.json"), "utf8");
    expect(Object.entries(JSON.parse(text) as object)[0]).toEqual(["consistency", "application"]);
    expect(Object.keys((JSON.parse(text) as { files: object }).files)).toEqual([
      "receipt.json",
      "disks/root.qcow2",
      "ram.zst",
    ]);
    const other = new MemoryRegistry();
    const { descriptor } = await importCheckpoint({ registry: other, folder: target, repository: "back", tag: "one" });
    const [before, after] = [
      await findRemoteCheckpoint(registry, "vm:one"),
      await findRemoteCheckpoint(other, `back@${descriptor.digest}`),
    ];
    expect(after.config).toEqual(before.config);
    expect(await readReceipt(other, { repository: "back", digest: descriptor.digest })).toEqual({ said: "one" });
    await expect(exportCheckpoint({ registry, reference: "vm:one", folder: target })).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
    });
  });

  it.each(["checkpoint.json", "receipt.json", "disks/root.qcow2", "ram.zst"])(
    "of which %s was altered or is missing is refused by its name",
    async (name) => {
      await using folder = temporaryFolder();
      const { registry, target } = await exported(folder.path);
      const path = join(target, name);
      const bytes = await readFile(path);
      const refused = async () => {
        const back = importCheckpoint({ registry, folder: target, repository: "back", tag: "one" });
        await expect(back).rejects.toMatchObject({
          reason: "CHECKPOINT_DAMAGED",
          message: expect.stringContaining(path) as string,
        });
      };
      await writeFile(path, Buffer.from(bytes).fill((bytes[10] ?? 0) ^ 1, 10, 11));
      await refused();
      await rm(path);
      await refused();
      expect(await registry.getManifest("back", "one")).toBeUndefined();
    },
  );

  it("that fails leaves nothing", async () => {
    await using folder = temporaryFolder();
    const { registry, push } = await pushedDisk(folder.path);
    await push("one");
    const blob = (await findRemoteCheckpoint(registry, "vm:one")).disks[0]?.chunks[5]?.blob;
    registry.blobs.delete(`vm@${blob?.digest}`);
    const before = await readdir(folder.path);
    const wanted = { registry, reference: "vm:one", folder: join(folder.path, "exported") };
    await expect(exportCheckpoint(wanted)).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
    expect(await readdir(folder.path)).toEqual(before);
  });
});
