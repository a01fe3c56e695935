import { expect, test } from "vitest";
import { dataPieces } from "./zeros.ts";

test("bytes are given without their zeros, in pieces of 64 KiB", () => {
  const bytes = Buffer.alloc(5 * 65_536 + 10);
  for (const at of [65_536, 2 * 65_536 + 5, 4 * 65_536]) bytes[at] = 1;
  expect([...dataPieces(bytes)].map(({ at, bytes: piece }) => [at, piece.length])).toEqual([
    [65_536, 2 * 65_536],
    [4 * 65_536, 65_536],
  ]);
});
