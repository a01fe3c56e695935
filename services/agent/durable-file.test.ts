import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { appendLine } from "./durable-file.ts";

const run = promisify(execFile);

test("a line for which there is no room leaves nothing, and the next does not join it", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "lines");
  await appendLine(path, "first");
  const script = join(folder.path, "append.mjs");
  const module = join(import.meta.dirname, "durable-file.ts");
  await writeFile(
    script,
    `import { appendLine } from ${JSON.stringify(module)};
     await appendLine(process.argv[2], "x".repeat(200)).catch(({ code }) => console.log(code));`,
  );
  // A file that may not grow beyond 100 bytes takes a part of the line, as a full disk does.
  const { stdout } = await run("prlimit", ["--fsize=100", "--", process.execPath, script, path]);
  expect(stdout).toBe("EFBIG\n");
  await appendLine(path, "second");
  expect(await readFile(path, "utf8")).toBe("first\nsecond\n");
});
