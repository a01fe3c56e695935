import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect as connectNats } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import {
  assertNothingLeft,
  dockerEngine,
  engineLeftovers,
  eventually,
  leftByDeadRuns,
  leftovers,
  startNats,
  startRedis,
  temporaryFolder,
} from "#libs/testing";

const run = promisify(execFile);

test("redis keeps what it holds over a crash, and leaves nothing behind", async () => {
  {
    await using server = await startRedis();
    const client = new Redis(server.url);
    await client.set("key", "value");
    // One more answer: appendfsync happens within a second, but the write reached the kernel before this.
    await client.ping();
    client.disconnect();
    expect(leftovers().join("\n")).toContain("redis-server");
    await server.stop("SIGKILL");
    expect(server.pid).toBeUndefined();
    await server.start();
    const again = new Redis(server.url);
    expect(await again.get("key")).toBe("value");
    again.disconnect();
  }
  await eventually(() => {
    assertNothingLeft();
    return true;
  });
});

test("nats has JetStream, and syncs always when told so", async () => {
  await using server = await startNats({ syncAlways: true });
  const nats = await connectNats({ servers: server.url });
  expect(nats.info?.jetstream).toBe(true);
  await nats.close();
});

test("what a killed run has left is named: processes, mounts, folders", async () => {
  const dead = spawn("sleep", ["0"]);
  await once(dead, "exit");
  const folder = join(tmpdir(), `stillpoint-run-${dead.pid}-left`);
  await mkdir(folder);
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true }));
  const sleeper = spawn("sleep", ["100"], { cwd: folder });
  stack.defer(() => void sleeper.kill());
  const isRoot = process.getuid?.() === 0;
  if (isRoot) {
    await run("mount", ["-t", "tmpfs", "none", folder]);
    stack.defer(async () => void (await run("umount", ["--lazy", folder])));
  }
  await using own = temporaryFolder();
  await eventually(() => leftByDeadRuns().includes(`process ${sleeper.pid}: sleep 100`));
  const left = leftByDeadRuns().join("\n");
  expect(left).toContain(`folder ${folder}, empty`);
  if (isRoot) expect(left).toContain(`mount ${folder}`);
  expect(left).not.toContain(own.path);
});

test("what is left is named", async () => {
  await using folder = temporaryFolder();
  expect(() => assertNothingLeft()).toThrow(`folder ${folder.path}, empty`);
  await writeFile(join(folder.path, "left"), "");
  expect(() => assertNothingLeft()).toThrow(`folder ${folder.path}, which holds left`);
});

test("eventually gives the value, or says why not", async () => {
  let calls = 0;
  expect(await eventually(() => (++calls === 3 ? "third" : undefined))).toBe("third");
  await expect(eventually(() => Promise.reject(new Error("no")), { deadlineMs: 50 })).rejects.toThrow("no");
  await expect(eventually(() => false, { deadlineMs: 50 })).rejects.toThrow("still gave false");
});

test("what is left in the Docker engine is named", async () => {
  await using engine = await dockerEngine();
  await using folder = temporaryFolder();
  const network = await engine.docker.createNetwork({ Name: "stillpoint-left", Labels: { folder: folder.path } });
  try {
    expect(await engineLeftovers(engine.docker, folder.path)).toEqual(["network stillpoint-left"]);
  } finally {
    await network.remove();
  }
  expect(await engineLeftovers(engine.docker, folder.path)).toEqual([]);
});
