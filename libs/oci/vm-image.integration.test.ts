import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { StillpointError } from "#libs/errors";
import { temporaryFolder } from "#libs/testing";
import { MemoryRegistry } from "./memory-registry.ts";
import { pullVmImage } from "./pull-vm-image.ts";
import { pushVmImage } from "./push-vm-image.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

/** A sparse disk with random data at these chunk numbers. */
async function makeDisk(path: string, sizeMib: number, chunks: readonly number[]): Promise<string> {
  await writeFile(path, "");
  await truncate(path, sizeMib * MIB);
  await using file = await open(path, "r+");
  for (const chunk of chunks) await file.write(randomBytes(MIB), 0, MIB, chunk * MIB);
  return path;
}

describe("pushing and pulling a VM image", () => {
  it("brings disk, kernel, initrd and command line back, and keeps the disk sparse", async () => {
    await using folder = temporaryFolder();
    const disk = await makeDisk(join(folder.path, "disk"), 64, [0, 7, 63]);
    const kernel = join(folder.path, "vmlinuz");
    const initrd = join(folder.path, "initrd.img");
    await writeFile(kernel, randomBytes(50_000));
    await writeFile(initrd, randomBytes(70_000));
    const registry = new MemoryRegistry();
    const pushed = await pushVmImage({ registry, reference: "guest:v1", disk, kernel, initrd, cmdline: "quiet" });
    expect(pushed).toMatchObject({ virtualSizeBytes: 64 * MIB, chunks: 3, sentChunks: 3 });

    const into = join(folder.path, "images");
    const progress: number[] = [];
    const onProgress = ({ doneBytes, totalBytes }: { doneBytes: number; totalBytes: number }) =>
      progress.push(doneBytes / totalBytes);
    const pulled = await pullVmImage({ registry, reference: "guest:v1", into, onProgress });
    expect(pulled).toMatchObject({ digest: pushed.digest, cmdline: "quiet", virtualSizeBytes: 64 * MIB });
    expect((await readFile(pulled.disk)).equals(await readFile(disk))).toBe(true);
    expect((await readFile(pulled.kernel ?? "")).equals(await readFile(kernel))).toBe(true);
    expect((await readFile(pulled.initrd ?? "")).equals(await readFile(initrd))).toBe(true);
    expect((await stat(pulled.disk)).blocks * 512).toBeLessThan(4 * MIB);
    expect(progress.at(-1)).toBe(1);

    const reads = registry.counts.readBlob;
    expect(await pullVmImage({ registry, reference: `guest@${pushed.digest}`, into })).toEqual(pulled);
    expect(registry.counts.readBlob).toBe(reads);
  });

  it("sends only the changed chunks of the next version", async () => {
    await using folder = temporaryFolder();
    const disk = await makeDisk(join(folder.path, "disk"), 64, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const registry = new MemoryRegistry();
    const first = await pushVmImage({ registry, reference: "guest:latest", disk });
    const sent = registry.counts.putBlob;
    expect([first.chunks, first.sentChunks]).toEqual([10, 10]);
    await using file = await open(disk, "r+");
    await file.write("a small change", 5 * MIB + 17);
    await file.write(randomBytes(10), 0, 10, 40 * MIB);
    const second = await pushVmImage({ registry, reference: "guest:latest", disk });
    expect([second.chunks, second.sentChunks]).toEqual([11, 2]);
    // Two chunks; the config is the same.
    expect(registry.counts.putBlob - sent).toBe(2);
    const elsewhere = await pushVmImage({ registry, reference: "guest:other-tag", disk });
    expect([elsewhere.sentChunks, elsewhere.transferredBytes, elsewhere.digest]).toEqual([0, 0, second.digest]);
  });

  it("takes equal chunks once, an empty disk, and one whose size is no multiple of a sector", async () => {
    await using folder = temporaryFolder();
    const registry = new MemoryRegistry();
    const twice = randomBytes(MIB);
    const disk = join(folder.path, "disk");
    await writeFile(disk, Buffer.concat([twice, twice, Buffer.from("tail")]));
    const pushed = await pushVmImage({ registry, reference: "guest:odd", disk });
    expect([pushed.chunks, pushed.sentChunks, pushed.virtualSizeBytes]).toEqual([3, 2, 2 * MIB + 512]);
    const pulled = await pullVmImage({ registry, reference: "guest:odd", into: folder.path });
    expect((await readFile(pulled.disk)).toString("latin1", 2 * MIB, 2 * MIB + 6)).toBe("tail\0\0");

    const empty = await makeDisk(join(folder.path, "empty"), 8, []);
    expect((await pushVmImage({ registry, reference: "guest:empty", disk: empty })).chunks).toBe(1);
    const back = await pullVmImage({ registry, reference: "guest:empty", into: folder.path });
    expect([back.virtualSizeBytes, (await stat(back.disk)).blocks]).toEqual([8 * MIB, 0]);
  });

  it("shares the work of pulls at the same time, and one that leaves does not end the others'", async () => {
    await using folder = temporaryFolder();
    const disk = await makeDisk(join(folder.path, "disk"), 16, [0, 1, 2, 3]);
    const registry = new MemoryRegistry();
    await pushVmImage({ registry, reference: "guest:v1", disk });
    const leaver = new AbortController();
    const into = join(folder.path, "images");
    const pull = (signal?: AbortSignal) =>
      pullVmImage({ registry, reference: "guest:v1", into, ...(signal && { signal }) });
    const left = pull(leaver.signal);
    const others = [pull(), pull()];
    leaver.abort();
    await expect(left).rejects.toMatchObject({ reason: "CANCELLED" });
    expect(new Set((await Promise.all(others)).map(({ disk: path }) => path)).size).toBe(1);
    expect(registry.counts.readBlob).toBe(5);
    expect(await readdir(into)).toHaveLength(1);
  });
});

describe("a pull that fails", () => {
  async function pushedDisk(folder: string) {
    const disk = await makeDisk(
      join(folder, "disk"),
      64,
      Array.from({ length: 16 }, (_, index) => 2 * index),
    );
    const registry = new MemoryRegistry();
    await pushVmImage({ registry, reference: "guest:v1", disk });
    return { registry, reference: "guest:v1", into: join(folder, "images"), disk };
  }

  it("by an abort goes on where it was, whatever became of what it had brought", async () => {
    await using folder = temporaryFolder();
    const { disk, ...wanted } = await pushedDisk(folder.path);
    const abort = new AbortController();
    const pull = pullVmImage({
      ...{ ...wanted, signal: abort.signal },
      onProgress: ({ doneBytes }) => doneBytes === 8 * MIB && abort.abort(),
    });
    await expect(pull).rejects.toMatchObject({ reason: "CANCELLED" });
    const [part = ""] = await readdir(wanted.into);
    expect(part).toMatch(/^sha256-[0-9a-f]{64}\.part$/);
    // A power cut may leave anything.
    await using file = await open(join(wanted.into, part, "disk.raw"), "r+");
    await file.write(randomBytes(MIB), 0, MIB, 2 * MIB);
    const before = wanted.registry.counts.readBlob;
    const asked: (number | undefined)[] = [];
    const onProgress = ({ transferredBytes }: { transferredBytes: number }) => asked.push(transferredBytes);
    const pulled = await pullVmImage({ ...wanted, onProgress });
    expect((await readFile(pulled.disk)).equals(await readFile(disk))).toBe(true);
    // The config, the damaged chunk, and those that the abort cut off.
    const fetched = wanted.registry.counts.readBlob - before;
    expect(fetched).toBeGreaterThan(2);
    expect(fetched).toBeLessThan(11);
    expect(asked).toHaveLength(16);
    expect(await readdir(wanted.into)).toEqual([part.slice(0, -".part".length)]);
  });

  it("because the registry is away in the middle is waited for, for minutes and not for ever", async () => {
    await using folder = temporaryFolder();
    const { disk, ...wanted } = await pushedDisk(folder.path);
    let [timeMs, awayUntilMs] = [0, 1];
    const clock = {
      now: () => new Date(),
      monotonicMs: () => timeMs,
      sleep: async (ms: number) => {
        timeMs += ms;
      },
    };
    const { registry } = wanted;
    const readBlob = registry.readBlob.bind(registry);
    registry.readBlob = async (...args) => {
      if (timeMs < awayUntilMs) throw new StillpointError("REGISTRY_UNREACHABLE", "away");
      return await readBlob(...args);
    };
    const pull = (awayAtBytes: number, untilMs: number) =>
      pullVmImage({
        ...{ ...wanted, clock },
        onProgress: ({ doneBytes }) => {
          if (doneBytes === awayAtBytes) awayUntilMs = untilMs;
        },
      });
    const unreachable = { reason: "REGISTRY_UNREACHABLE" };
    await expect(pull(0, 0)).rejects.toMatchObject(unreachable);
    expect(timeMs).toBe(0);
    timeMs = 1;
    await expect(pull(3 * MIB, 1e9)).rejects.toMatchObject(unreachable);
    expect(timeMs).toBeGreaterThan(300_000);
    expect(timeMs).toBeLessThan(500_000);
    timeMs = 1e9;
    const pulled = await pull(8 * MIB, timeMs + 120_000);
    expect((await readFile(pulled.disk)).equals(await readFile(disk))).toBe(true);
    expect(timeMs).toBeGreaterThan(1e9 + 100_000);
  });

  it("because there is no room says so and leaves nothing", async (context) => {
    await using folder = temporaryFolder();
    const { disk: _disk, ...wanted } = await pushedDisk(folder.path);
    const makeRoom = () => Promise.reject(new StillpointError("SPACE_INSUFFICIENT", "none"));
    await expect(pullVmImage({ ...wanted, makeRoom })).rejects.toMatchObject({ reason: "SPACE_INSUFFICIENT" });
    expect(await readdir(wanted.into).catch(() => [])).toEqual([]);
    if (process.getuid?.() !== 0) return context.skip("mounting a small file system needs root");
    const small = join(folder.path, "small");
    await mkdir(small);
    await run("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", small]);
    try {
      await expect(pullVmImage({ ...wanted, into: small })).rejects.toMatchObject({ reason: "SPACE_INSUFFICIENT" });
      expect(await readdir(small)).toEqual([]);
    } finally {
      await run("umount", [small]);
    }
  });

  it("by other bytes, a missing chunk, the quota or a missing image says which and leaves nothing", async () => {
    await using folder = temporaryFolder();
    const { disk: _disk, ...wanted } = await pushedDisk(folder.path);
    await expect(pullVmImage({ ...wanted, maxVirtualSizeBytes: MIB })).rejects.toMatchObject({
      reason: "IMAGE_TOO_LARGE",
    });
    await expect(pullVmImage({ ...wanted, reference: "guest:v2" })).rejects.toMatchObject({
      reason: "IMAGE_NOT_FOUND",
    });
    const [key = "", bytes = Buffer.alloc(0)] = [...wanted.registry.blobs].find(([, it]) => it.length > 1000) ?? [];
    wanted.registry.blobs.set(key, Buffer.from(bytes).fill(0, 100, 101));
    await expect(pullVmImage(wanted)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    wanted.registry.blobs.delete(key);
    await expect(pullVmImage(wanted)).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
    expect(await readdir(wanted.into)).toEqual([]);
  });
});
