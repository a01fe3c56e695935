import { expect, test } from "vitest";
import { ext4State, PARTITION_TABLE_BYTES, partitionStarts, SUPERBLOCK_BYTES } from "./file-systems.ts";
import { judgementOf, summaryOf } from "./verify.ts";

function superblock(incompat: number): Buffer {
  const block = Buffer.alloc(SUPERBLOCK_BYTES);
  block.writeUInt16LE(0xef53, 0x38);
  block.writeUInt32LE(incompat, 0x60);
  return block;
}

function table(): Buffer {
  const head = Buffer.alloc(PARTITION_TABLE_BYTES);
  head.writeUInt16LE(0xaa55, 510);
  return head;
}

test.each([
  ["clean", 0x2c2, "clean"],
  ["with a journal to replay", 0x2c6, "needs_recovery"],
] as const)("an ext4 file system %s is told", (_what, incompat, state) => {
  expect(ext4State(superblock(incompat))).toBe(state);
});

test("what is no ext4 is not judged", () => {
  expect(ext4State(Buffer.alloc(SUPERBLOCK_BYTES))).toBeUndefined();
});

test("a disk without partitions is one file system", () => {
  expect(partitionStarts(Buffer.alloc(PARTITION_TABLE_BYTES))).toEqual([0]);
});

test("an MBR's primary partitions are found", () => {
  const head = table();
  head[446 + 4] = 0x83;
  head.writeUInt32LE(2048, 446 + 8);
  expect(partitionStarts(head)).toEqual([0, 1_048_576]);
});

test("a GPT's partitions are found, and its protective MBR is not one", () => {
  const head = table();
  head[446 + 4] = 0xee;
  head.writeUInt32LE(1, 446 + 8);
  head.write("EFI PART", 512, "latin1");
  head.fill(7, 1024, 1040);
  head.writeBigUInt64LE(4096n, 1024 + 32);
  expect(partitionStarts(head)).toEqual([0, 2_097_152]);
});

test.each([
  [[], { method: "none", result: "unknown" }],
  [["clean", "clean"], { method: "ext4-superblock", result: "clean" }],
  [["clean", "needs_recovery"], { method: "ext4-superblock", result: "needs_recovery" }],
] as const)("%j together are %j", (states, summary) => {
  expect(summaryOf(states)).toEqual(summary);
});

test("one file system that needs recovery is the reason why the image is not accepted", () => {
  expect(judgementOf(["clean", "needs_recovery"])).toEqual({
    refusedReason: "verify.unclean",
    refusedDetail: "1 of 2 file systems in the image have a journal to replay",
  });
  expect(judgementOf(["clean"])).toEqual({ refusedReason: "", refusedDetail: "" });
  expect(judgementOf([])).toEqual({ refusedReason: "", refusedDetail: "" });
});
