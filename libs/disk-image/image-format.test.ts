import { expect, it } from "vitest";
import { detectFormat } from "./image-format.ts";

const at = (offset: number, bytes: string | readonly number[]) =>
  Buffer.concat([Buffer.alloc(offset), Buffer.from(bytes)]);

it.each([
  ["qcow2", at(0, [0x51, 0x46, 0x49, 0xfb])],
  ["vmdk", at(0, "KDMV\x01")],
  ["vhdx", at(0, "vhdxfile")],
  ["vhd", at(0, "conectix")],
  ["ova", at(257, "ustar\0")],
  ["raw", Buffer.alloc(512)],
  ["raw", at(0, "MZ")],
  ["raw", Buffer.alloc(0)],
])("%s is known by its content", (format, head) => {
  expect(detectFormat(head)).toBe(format);
});

it.each([
  ["VDI", at(0x40, [0x7f, 0x10, 0xda, 0xbe])],
  ["VMDK", at(0, "# Disk DescriptorFile\nversion=1")],
  ["VMDK", at(0, "COWD")],
  ["gzip", at(0, [0x1f, 0x8b, 0x08, 0x00])],
  ["LUKS", at(0, [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe])],
])("%s is refused by name", (name, head) => {
  expect(() => detectFormat(head)).toThrow(
    expect.objectContaining({ reason: "IMAGE_INVALID", message: expect.stringContaining(name) }),
  );
});
