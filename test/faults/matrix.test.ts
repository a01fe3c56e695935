import { appendFileSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { readReport, report, tableOf } from "./fault-report.ts";
import { lines, longFiles, matrixTable } from "./matrix.ts";

const folder = import.meta.dirname;

test("README.md has the matrix, and each file of this folder is in it with its time", () => {
  const plain = (table: string) =>
    table.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---").replaceAll("| --- ", "|---");
  expect(plain(readFileSync(join(folder, "README.md"), "utf8"))).toContain(plain(matrixTable()));
  const files = globSync("*.test.ts", { cwd: folder }).map((file) => file.replace(".test.ts", ""));
  const named = new Set(lines.map(({ file }) => file).filter((file) => !file.includes("/")));
  expect([...named].toSorted()).toEqual(files.filter((file) => file !== "matrix").toSorted());
  expect(Object.keys(longFiles).toSorted()).toEqual([...named].toSorted());
  const rows = new Set(lines.flatMap(({ row }) => row.split(" ")));
  const all = Array.from({ length: 20 }, (_, index) => `F${index + 1}`);
  expect(all.filter((row) => !rows.has(row))).toEqual(["F15"]);
});

test("a report tells what was done, also when its last line was not finished", async () => {
  await using temporary = temporaryFolder();
  const path = join(temporary.path, "report.jsonl");
  const common = { row: "F4", file: "replicas", seed: 1, accepted: 10, wallSeconds: 2 };
  report({ ...common, test: "one", faults: { kill: 3 }, violations: [], longestRecoverySeconds: 1.5 }, path);
  report({ ...common, test: "two", faults: { kill: 1, pause: 1 }, violations: ["I1: twice"] }, path);
  appendFileSync(path, '{"row":"F5","fi');
  const table = tableOf(readReport(path)).split("\n");
  expect(table[1]?.split(/ {2,}/)).toEqual(["F4", "2", "5", "20", "1", "1.5 s", "4 s", "4 kill, 1 pause"]);
  expect(table[2]).toBe("F4 two: I1: twice");
});
