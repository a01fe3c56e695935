import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("main.ts", import.meta.url));

/** Runs it on a terminal of its own (script(1)) and answers the question with these keys. */
async function answerWith(keys: string) {
  const command = `${process.execPath} ${main} checkpoint apply web-1 before`;
  const child = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"]);
  let shown = "";
  child.stdout.on("data", (data: Buffer) => {
    if (!shown.includes("[y/N]") && `${shown}${data.toString()}`.includes("[y/N]")) child.stdin.write(keys);
    shown += data.toString();
  });
  const [code] = await once(child, "close");
  return { code: code as number, shown };
}

test.each([
  ["no", "n\r"],
  ["Ctrl-C", "\u0003"],
  ["Ctrl-D", "\u0004"],
])("%s at a question is a no", async (_key, keys) => {
  const { code, shown } = await answerWith(keys);
  expect(shown).toMatch(/Nothing was done\.\s*$/);
  expect(shown).not.toContain("Error");
  expect(code).toBe(1);
});
