import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually, isLong, leftovers, temporaryFolder } from "#libs/testing";
import { repository, runCommand } from "../harness/command.ts";
import { findQemus } from "../harness/qemu-process.ts";

const demo = join(repository, "test/demo/demo.ts");

test("the demo passes, shows every step and cleans up", { timeout: 300_000 }, async () => {
  const { code, stdout, stderr } = await runCommand(process.execPath, [demo], { timeoutMs: 290_000 });
  expect(stderr).toBe("");
  expect(stdout).toContain("production checkpoint under load");
  expect(stdout.trimEnd().split("\n").at(-1)).toBe("demo: passed");
  expect(code).toBe(0);
});

// make cluster, which is interrupted in the same way, is the short suite's.
test.runIf(isLong)("Ctrl-C in the middle of the demo leaves nothing behind", { timeout: 120_000 }, async () => {
  await using folder = temporaryFolder();
  const env = { ...process.env, TMPDIR: folder.path };
  const child = spawn(process.execPath, [demo], { stdio: ["ignore", "pipe", "pipe"], env });
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output.text += text));
  }
  await eventually(async () => (await findQemus(folder.path)).length > 0, { deadlineMs: 60_000 });
  const exited = once(child, "close");
  child.kill("SIGINT");
  expect(await exited).toEqual([1, null]);
  expect(output.text).toContain("demo: failed: interrupted by SIGINT; everything is cleaned up");
  expect(leftovers(`${folder.path}/`)).toEqual([]);
});
