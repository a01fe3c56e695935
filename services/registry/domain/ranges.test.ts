import { describe, expect, it } from "vitest";
import { chunkRange, requestedRange, uploadRange } from "./ranges.ts";

describe("requestedRange", () => {
  it.each([
    ["bytes=0-0", 10, { first: 0, last: 0 }],
    ["bytes=3-", 10, { first: 3, last: 9 }],
    ["bytes=3-99", 10, { first: 3, last: 9 }],
    ["bytes=-4", 10, { first: 6, last: 9 }],
    ["bytes=-99", 10, { first: 0, last: 9 }],
    ["bytes=10-", 10, "unsatisfiable"],
    ["bytes=5-4", 10, "unsatisfiable"],
    ["bytes=-0", 10, "unsatisfiable"],
    ["bytes=0-", 0, "unsatisfiable"],
    ["bytes=-", 10, undefined],
    ["bytes=0-1,3-4", 10, undefined],
    ["lines=0-1", 10, undefined],
    [undefined, 10, undefined],
  ])("%s of %i bytes", (header, size, range) => {
    expect(requestedRange(header, size)).toEqual(range);
  });
});

describe("chunkRange", () => {
  it("reads first and last without a unit, and nothing else", () => {
    expect(chunkRange("0-9")).toEqual({ first: 0, last: 9 });
    for (const header of ["bytes=0-9", "bytes 0-9/10", "9-0", "0-", "-9", "", "0-99999999999999999999"]) {
      expect(chunkRange(header)).toBeUndefined();
    }
  });
});

describe("uploadRange", () => {
  it("names the last byte", () => {
    expect([uploadRange(0), uploadRange(1), uploadRange(10)]).toEqual(["0-0", "0-0", "0-9"]);
  });
});
