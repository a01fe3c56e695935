import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createEmpty } from "#libs/disk-image";
import { repository, runCommand } from "../harness/command.ts";
import { startProduct } from "../harness/product.ts";

/** Those that end: `dev` is what serves them here, and a follower goes on until Ctrl-C. */
async function commandsOfReadme(): Promise<string[]> {
  const readme = await readFile(join(repository, "README.md"), "utf8");
  const section = /\n## Use it\n(.*?)\n## /s.exec(readme)?.[1] ?? "";
  const lines = [...section.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = ""]) => block.split("\n"));
  return lines
    .map((line) => line.replace(/\s+#.*$/, ""))
    .filter((line) => line.startsWith("bin/stillpoint ") && !/ dev\b| --follow\b/.test(line));
}

test("README's commands work one after the other, as they stand there", async () => {
  const commands = await commandsOfReadme();
  expect(commands.length).toBeGreaterThan(4);
  await using product = await startProduct();
  await createEmpty({ path: join(product.folder, "disk.qcow2"), sizeBytes: 64 * 2 ** 20 });
  const env = { STILLPOINT_ADDRESS: product.address, STILLPOINT_REGISTRY: product.registryUrl };
  for (const command of commands) {
    const [program = "", ...args] = command.split(" ");
    const { code, stderr } = await runCommand(join(repository, program), args, { cwd: product.folder, env });
    expect({ command, code, stderr: code === 0 ? "" : stderr }).toEqual({ command, code: 0, stderr: "" });
  }
});
