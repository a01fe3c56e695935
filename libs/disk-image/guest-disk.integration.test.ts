import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "#libs/testing";
import {
  changedRanges,
  createEmpty,
  createOverlay,
  dataRanges,
  openGuestDisk,
  readGuestBytes,
  removeDeadSockets,
} from "./index.ts";

const MIB = 2 ** 20;
const CLUSTER = 65_536;

describe("a disk that is opened", () => {
  it("that is no disk is refused, with what QEMU says of it", async () => {
    await using folder = temporaryFolder();
    const path = join(folder.path, "text.qcow2");
    await writeFile(path, "no disk".repeat(1_000));
    for (let time = 0; time < 5; time += 1) {
      await expect(openGuestDisk({ path, format: "qcow2" })).rejects.toThrow(/not in qcow2 format/);
    }
  });

  it("reads through its chain what was written, and is durable when it was flushed", async () => {
    await using folder = temporaryFolder();
    const [base, top] = [join(folder.path, "base.qcow2"), join(folder.path, "top.qcow2")];
    await createEmpty({ path: base, sizeBytes: 64 * MIB });
    const [low, high] = [randomBytes(3 * MIB), randomBytes(4096)];
    {
      await using disk = await openGuestDisk({ path: base, format: "qcow2", writable: true });
      await disk.write(10 * MIB, low);
      await disk.flush();
    }
    await createOverlay({ path: top, backing: base, backingFormat: "qcow2" });
    {
      await using disk = await openGuestDisk({ path: top, format: "qcow2", writable: true });
      await disk.write(11 * MIB, high);
      await disk.flush();
    }
    await using disk = await openGuestDisk({ path: top, format: "qcow2" });
    const [first, second] = await Promise.all([disk.read(10 * MIB, MIB), disk.read(11 * MIB, 2 * MIB)]);
    expect(first.equals(low.subarray(0, MIB))).toBe(true);
    expect(second.equals(Buffer.concat([high, low.subarray(MIB + high.length)]))).toBe(true);
    await expect(disk.write(0, high)).rejects.toMatchObject({ reason: "INTERNAL" });
    expect((await readGuestBytes({ path: top, format: "qcow2", offset: 11 * MIB, length: 4096 })).equals(high)).toBe(
      true,
    );
  });

  it("leaves nothing behind in a process that is killed while it is open, and is cleared of what one left before", async () => {
    await using folder = temporaryFolder();
    const path = join(folder.path, "base.qcow2");
    await createEmpty({ path, sizeBytes: MIB });
    const sockets = async () => (await readdir(tmpdir())).filter((name) => name.startsWith("stillpoint-nbd-"));
    await using disk = await openGuestDisk({ path, format: "qcow2" });
    expect(await disk.read(0, 512)).toEqual(Buffer.alloc(512));
    expect((await sockets()).filter((name) => name.includes(`-${process.pid}-`))).toEqual([]);
    const [dead, living] = [`stillpoint-nbd-${2 ** 22 + 1}-a`, `stillpoint-nbd-${process.ppid}-a`];
    for (const name of [dead, living]) await mkdir(join(tmpdir(), name));
    await removeDeadSockets();
    const left = await sockets();
    await rm(join(tmpdir(), living), { recursive: true });
    expect([left.includes(dead), left.includes(living)]).toEqual([false, true]);
  });

  it("says why it cannot be opened", async () => {
    await using folder = temporaryFolder();
    await expect(openGuestDisk({ path: join(folder.path, "none"), format: "qcow2" })).rejects.toThrow(/none/);
  });
});

it("tells what the layers since a base may have changed, also to zeros, and nothing of what lies below", async () => {
  await using folder = temporaryFolder();
  const [base, middle, top] = ["base", "middle", "top"].map((name) => join(folder.path, `${name}.qcow2`)) as [
    string,
    string,
    string,
  ];
  const write = async (path: string, offset: number, bytes: Buffer) => {
    await using disk = await openGuestDisk({ path, format: "qcow2", writable: true });
    await disk.write(offset, bytes);
    await disk.flush();
  };
  await createEmpty({ path: base, sizeBytes: 64 * MIB });
  await write(base, 0, randomBytes(8 * MIB));
  await createOverlay({ path: middle, backing: base, backingFormat: "qcow2" });
  await write(middle, MIB + 5 * 512, randomBytes(512));
  await createOverlay({ path: top, backing: middle, backingFormat: "qcow2" });
  await write(top, 2 * MIB, Buffer.alloc(2 * CLUSTER));
  await write(top, 40 * MIB, randomBytes(CLUSTER));
  expect(await changedRanges([top, middle])).toEqual([
    { offset: MIB, length: CLUSTER },
    { offset: 2 * MIB, length: 2 * CLUSTER },
    { offset: 40 * MIB, length: CLUSTER },
  ]);
  expect(await changedRanges([top])).toHaveLength(2);
  expect(await changedRanges([])).toEqual([]);
  const total = (await dataRanges(top, "qcow2")).reduce((sum, { length }) => sum + length, 0);
  expect(total).toBeLessThanOrEqual(8 * MIB + CLUSTER);
});
