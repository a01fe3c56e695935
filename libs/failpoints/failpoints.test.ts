import { afterEach, expect, test } from "vitest";
import { failpoint, setFailpoints } from "#libs/failpoints";
import { temporaryFolder } from "#libs/testing";
import { parseFailpoints } from "./parse-failpoints.ts";

afterEach(() => setFailpoints(undefined));

test.each([undefined, "", " ; "])("%j means none", (specification) => {
  expect(parseFailpoints(specification)).toBeUndefined();
});

test("reads each action", () => {
  const points = parseFailpoints("vm.create.make-disks.after=kill@once:/tmp/a b; x=delay:500;y=throw;z=pause");
  expect(Object.fromEntries(points ?? [])).toEqual({
    "vm.create.make-disks.after": { kind: "kill", once: "/tmp/a b" },
    x: { kind: "delay", ms: 500 },
    y: { kind: "throw" },
    z: { kind: "pause" },
  });
});

test.each(["x", "x=die", "x=delay", "x=kill@/tmp/a", "=kill"])("%j is refused, with its form", (specification) => {
  expect(() => parseFailpoints(specification)).toThrow("is no failpoint: write name=kill");
});

test("only the named point fires", async () => {
  setFailpoints("here=throw");
  await expect(failpoint("there")).resolves.toBeUndefined();
  await expect(failpoint("here")).rejects.toThrow("failpoint here");
});

test("a delay holds the caller up", async () => {
  setFailpoints("here=delay:30");
  const began = performance.now();
  await failpoint("here");
  expect(performance.now() - began).toBeGreaterThanOrEqual(29);
});

test("with a marker it fires once", async () => {
  await using folder = temporaryFolder();
  setFailpoints(`here=throw@once:${folder.path}/fired`);
  await expect(failpoint("here")).rejects.toThrow("failpoint here");
  await expect(failpoint("here")).resolves.toBeUndefined();
});

test("a marker that cannot be written is an error, not a silence", async () => {
  setFailpoints("here=throw@once:/nonexistent/folder/fired");
  await expect(failpoint("here")).rejects.toThrow("ENOENT");
});
