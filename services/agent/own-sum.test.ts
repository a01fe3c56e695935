import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { linesIn } from "./durable-file.ts";
import { readHashed, withHash, withoutSum, withSum } from "./own-sum.ts";

const flipped = (text: string, at: number, bit: number): string => {
  const bytes = Buffer.from(text, "latin1");
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
  return bytes.toString("latin1");
};

test("no bit of a line changes unseen; a line of a version before is taken as it is", () => {
  const line = '{"fence":{"epoch":12,"operation":"op-1"}}';
  const text = withSum(line);
  expect(withoutSum(text)).toBe(line);
  expect(withoutSum(line)).toBe(line);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.nat(7), (at, bit) => {
      const found = withoutSum(flipped(text, at, bit));
      // What begins like a line of a version before is no JSON then.
      if (found !== undefined) expect(() => JSON.parse(found) as unknown).toThrow();
    }),
  );
});

test("nor one of a file", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "lease.json");
  const text = withHash({ epoch: 1_234_567 });
  await writeFile(path, text);
  expect(await readHashed(path)).toEqual({ epoch: 1_234_567 });
  for (let at = 0; at < text.length; at++) {
    await writeFile(path, flipped(text, at, at % 8), "latin1");
    await expect(readHashed(path)).rejects.toMatchObject({ reason: "FILE_DAMAGED" });
  }
  await writeFile(path, '{"epoch":7}');
  expect(await readHashed(path)).toEqual({ epoch: 7 });
  await writeFile(path, text.slice(0, 20));
  await expect(readHashed(path)).rejects.toMatchObject({ reason: "FILE_DAMAGED" });
});

test("lines that are damaged are refused, or left out by whoever can do without", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "lines");
  const lines = linesIn(path);
  await lines.append('{"first":1}');
  await lines.append('{"second":2}');
  expect(await lines.read()).toEqual(['{"first":1}', '{"second":2}']);
  await writeFile(path, `${withSum('{"first":1}').replace("first", "fxrst")}\n${withSum('{"second":2}')}\n`);
  await expect(lines.read()).rejects.toMatchObject({ reason: "FILE_DAMAGED" });
  await writeFile(path, `${withSum('{"first":1}')}J`);
  await expect(lines.read()).rejects.toMatchObject({ reason: "FILE_DAMAGED" });
  await writeFile(path, `${withSum('{"first":1}').replace("first", "fxrst")}\n${withSum('{"second":2}')}\n`);
  let damaged = 0;
  expect(await lines.read(() => damaged++)).toEqual(['{"second":2}']);
  expect(damaged).toBe(1);
});
