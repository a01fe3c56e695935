import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { eventually, temporaryFolder } from "#libs/testing";

const script = `
  import { failpoint } from "#libs/failpoints";
  await failpoint("here");
  console.log("went on");`;

function run(failpoints: string) {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    env: { ...process.env, STILLPOINT_FAILPOINTS: failpoints },
  });
  let output = "";
  child.stdout.on("data", (data: Buffer) => {
    output += data.toString();
  });
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, output }));
  return { child, ended };
}

test("kill ends the process there and then; after a restart the marker lets it pass", async () => {
  await using folder = temporaryFolder();
  const failpoints = `here=kill@once:${folder.path}/fired`;
  expect(await run(failpoints).ended).toEqual({ code: null, signal: "SIGKILL", output: "" });
  expect(await run(failpoints).ended).toEqual({ code: 0, signal: null, output: "went on\n" });
});

test("pause stops the process until it is continued", async () => {
  const { child, ended } = run("here=pause");
  await eventually(async () => / T /.test(await readFile(`/proc/${child.pid}/stat`, "utf8")));
  child.kill("SIGCONT");
  expect(await ended).toEqual({ code: 0, signal: null, output: "went on\n" });
});
