import { describe, expect, it } from "vitest";
import { parseQcow2Header } from "./qcow2-header.ts";

interface Fields {
  readonly version?: number;
  readonly size?: bigint;
  readonly incompatible?: bigint;
  readonly encryption?: number;
  readonly backing?: string;
  readonly backingFormat?: string;
}

/** A header as in QEMU's docs/interop/qcow2.txt. */
function craft({ version = 3, size = 2n ** 30n, incompatible = 0n, encryption = 0, backing, backingFormat }: Fields) {
  const head = Buffer.alloc(4096);
  head.write("QFI\xfb", 0, "latin1");
  head.writeUInt32BE(version, 4);
  head.writeBigUInt64BE(size, 24);
  head.writeUInt32BE(encryption, 32);
  if (version === 3) {
    head.writeBigUInt64BE(incompatible, 72);
    head.writeUInt32BE(104, 100);
  }
  let at = version === 3 ? 104 : 72;
  if (backingFormat !== undefined) {
    head.writeUInt32BE(0x6803f857, at);
    head.writeUInt32BE(3, at + 4);
    at += 16;
    head.writeUInt32BE(0xe2792aca, at);
    head.writeUInt32BE(backingFormat.length, at + 4);
    head.write(backingFormat, at + 8);
  }
  if (backing !== undefined) {
    head.writeBigUInt64BE(1000n, 8);
    head.writeUInt32BE(backing.length, 16);
    head.write(backing, 1000);
  }
  return head;
}

describe("parseQcow2Header", () => {
  it.each([2, 3])("reads version %i", (version) => {
    const header = parseQcow2Header(craft({ version, backing: "/a/base", backingFormat: "raw" }));
    expect(header).toEqual({
      version,
      virtualSizeBytes: 2 ** 30,
      backingFile: "/a/base",
      backingFormat: "raw",
      usesDataFile: false,
      markedCorrupt: false,
    });
  });

  it("sees a data file, a corrupt mark, and a backing name that lies outside", () => {
    expect(parseQcow2Header(craft({ incompatible: 0b100n })).usesDataFile).toBe(true);
    expect(parseQcow2Header(craft({ incompatible: 0b010n })).markedCorrupt).toBe(true);
    const outside = craft({});
    outside.writeBigUInt64BE(2n ** 40n, 8);
    expect(parseQcow2Header(outside).backingFile).toBe("(unreadable)");
    expect(parseQcow2Header(craft({ incompatible: 0b11001n })).usesDataFile).toBe(false);
  });

  it.each([
    ["version 1", craft({ version: 1 })],
    ["version 4", craft({ version: 4 })],
    ["an unknown feature", craft({ incompatible: 0b100000n })],
    ["encryption", craft({ encryption: 2 })],
    ["no size", craft({ size: 0n })],
    ["a size beyond reason", craft({ size: 2n ** 63n })],
    ["a short header", craft({}).subarray(0, 80)],
    ["nearly nothing", craft({}).subarray(0, 8)],
  ])("refuses %s", (_case, head) => {
    expect(() => parseQcow2Header(head)).toThrow(expect.objectContaining({ reason: "IMAGE_INVALID" }));
  });
});
