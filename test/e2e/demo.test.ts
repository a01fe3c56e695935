import { join } from "node:path";
import { expect, test } from "vitest";
import { repository, runCommand } from "../harness/command.ts";

test("the demo passes, shows every step and cleans up", { timeout: 300_000 }, async () => {
  const { code, stdout, stderr } = await runCommand(process.execPath, [join(repository, "test/demo/demo.ts")], {
    timeoutMs: 290_000,
  });
  expect(stderr).toBe("");
  expect(stdout).toContain("production checkpoint under load");
  expect(stdout.trimEnd().split("\n").at(-1)).toBe("demo: passed");
  expect(code).toBe(0);
});
