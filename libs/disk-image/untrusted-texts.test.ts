import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StillpointError } from "#libs/errors";
import { parseOvaManifest } from "./ova-manifest.ts";
import { parseOvf } from "./ovf.ts";
import { refuseUnsafeVhd } from "./vhd-footer.ts";
import { refuseUnsafeVmdk } from "./vmdk-header.ts";

const ovf = (disk: string, file = 'ovf:id="f" ovf:href="./a&amp;b.vmdk"') =>
  `\uFEFF<?xml version="1.0" encoding="UTF-8"?>\r\n<ovf:Envelope xmlns:ovf="x"><ovf:References><ovf:File ${file}/></ovf:References>
   <ovf:DiskSection><ovf:Info>x</ovf:Info><ovf:Disk ${disk}/></ovf:DiskSection></ovf:Envelope>`;

describe("an OVF descriptor", () => {
  it.each([
    ['ovf:capacity="10737418240"', 10 * 2 ** 30],
    ['ovf:capacity="10" ovf:capacityAllocationUnits="byte * 2^30"', 10 * 2 ** 30],
    ['ovf:capacity="10" ovf:capacityAllocationUnits="byte * 10^9"', 10 ** 10],
    ['ovf:capacity="10" ovf:capacityAllocationUnits="GigaBytes"', 10 * 2 ** 30],
    ['ovf:capacity="$size"', undefined],
    ['ovf:capacity="10" ovf:capacityAllocationUnits="furlongs"', undefined],
    ["", undefined],
  ])("says with %s how large a disk is", (capacity, capacityBytes) => {
    const [disk] = parseOvf(ovf(`ovf:diskId="d" ovf:fileRef="f" ${capacity}`));
    expect(disk).toEqual({ id: "d", file: "a&b.vmdk", ...(capacityBytes !== undefined && { capacityBytes }) });
  });
});

/** Whatever somebody else wrote, the answer is one of our errors or none. */
function judge(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(StillpointError);
  }
}

describe("what others wrote is judged whatever it is", () => {
  const pieces = [
    "<",
    ">",
    "/",
    "Envelope",
    "References",
    "File",
    " id='f'",
    " href='x'",
    "DiskSection",
    "Disk",
    "&a;",
  ];
  const xml = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 5 })), { maxLength: 40 });
  const header = fc.uint8Array({ minLength: 0, maxLength: 2048 });

  it("an OVF descriptor, a list of digests", () => {
    fc.assert(fc.property(xml, (parts) => judge(() => parseOvf(parts.join("")))));
    fc.assert(fc.property(fc.string(), (text) => judge(() => parseOvaManifest(text))));
  });

  it("a VMDK, a VHD", () => {
    const vmdk = header.map((bytes) => Buffer.concat([Buffer.from("KDMV"), bytes]));
    fc.assert(fc.property(vmdk, (head) => judge(() => refuseUnsafeVmdk(head))));
    const vhd = header.map((bytes) =>
      Buffer.concat([Buffer.from("conectix"), bytes, Buffer.alloc(512)]).subarray(0, 512),
    );
    fc.assert(fc.property(vhd, (footer) => judge(() => refuseUnsafeVhd(footer))));
  });
});
