import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isLong, leftovers } from "#libs/testing";
import { repository } from "../harness/command.ts";
import { whyNoNetwork } from "../harness/network.ts";

const missing = await whyNoNetwork();
if (missing !== undefined) console.warn(`make cluster is not tested: ${missing}`);

test.skipIf(missing !== undefined)("make cluster, and Ctrl-C in the middle", { timeout: 240_000 }, async () => {
  await using run = runCluster();
  await run.until("to reach it");
  run.child.kill("SIGINT");
  const [code] = (await once(run.child, "exit")) as [number];
  expect(run.printed()).toContain("interrupted by SIGINT; everything is cleaned up");
  expect(code).toBe(1);
  expect(leftovers(run.folder())).toEqual([]);
});

test.skipIf(missing !== undefined || !isLong)("make cluster to its end", { timeout: 600_000 }, async () => {
  await using run = runCluster();
  const [code] = (await once(run.child, "exit")) as [number];
  expect(run.printed()).toContain("cluster: passed");
  expect(code).toBe(0);
  expect(leftovers(run.folder())).toEqual([]);
});

function runCluster() {
  const argv = [process.execPath, join(repository, "test/demo/cluster.ts")];
  const child: ChildProcess = spawn("setpriv", ["--pdeathsig", "TERM", ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const more = new EventTarget();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      more.dispatchEvent(new Event("text"));
    });
  }
  return {
    child,
    printed: () => text,
    folder: () => /everything is in (\S+)/.exec(text)?.[1] ?? "",
    async until(words: string) {
      while (!text.includes(words)) {
        if (child.exitCode !== null) throw new Error(text);
        await Promise.race([once(more, "text"), once(child, "exit")]);
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      await once(child, "exit");
    },
  };
}
