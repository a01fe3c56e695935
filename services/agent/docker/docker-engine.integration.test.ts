import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemRandom } from "#libs/clock";
import { dockerEngine, type TestEngine, temporaryFolder } from "#libs/testing";
import { busyboxImage } from "../../../test/images/build.ts";
import type { ContainerRecipe } from "../container-engine.ts";
import { findGroup, processesIn } from "../lease/control-group.ts";
import { DockerEngine } from "./docker-engine.ts";

const hostData = systemRandom.id("host");
let real: TestEngine;
let engine: DockerEngine;
let image: string;

beforeAll(async () => {
  real = await dockerEngine();
  engine = new DockerEngine({ socketPath: real.socketPath, hostData });
  image = await busyboxImage(real);
}, 120_000);

afterAll(async () => {
  await real?.[Symbol.asyncDispose]();
});

/** A container of an image that runs until it goes out of scope, with a volume. */
async function running(of: string, script = "sleep 1000") {
  const uid = systemRandom.id("ctr");
  const recipe: ContainerRecipe = {
    ...{ uid, hostname: "test", image: of, stopSignal: "SIGTERM", network: null, ports: [] },
    process: { entrypoint: [], command: ["sh", "-c", script], env: {}, workingDir: "", user: "" },
    mounts: [{ source: { volume: `stillpoint-${uid}-data` }, path: "/data", readOnly: false }],
    ...{ cpuMillis: 1_000, memoryBytes: 2 ** 26, pids: 100, healthCheck: undefined },
    ...{ addCapabilities: [], dropCapabilities: [], readOnlyRoot: false },
  };
  await engine.create(recipe);
  await engine.create(recipe); // a step that is tried again
  expect(await engine.start(uid)).toBe(true);
  return {
    ...{ uid, recipe, volume: `stillpoint-${uid}-data` },
    [Symbol.asyncDispose]: async () => {
      await engine.remove(uid);
      await engine.remove(uid);
      await engine.removeVolumes(uid);
    },
  };
}

const command = { env: {}, user: "", workingDir: "", terminal: undefined };

test("what a container wrote is committed while it stands, and comes back as an image", async () => {
  await using container = await running(image, "echo one >/written; echo two >/data/kept; sleep 1000");
  const { uid, volume } = container;
  const another = new DockerEngine({ socketPath: real.socketPath, hostData: systemRandom.id("host") });
  await another.remove(uid);
  await another.removeVolumes(uid);
  expect(await engine.start(uid)).toBe(false);
  await expect.poll(() => engine.readFile(uid, "/data/kept"), { timeout: 10_000 }).toEqual(Buffer.from("two\n"));
  await engine.pause(uid);
  expect((await engine.find(uid))?.state).toBe("paused");
  const repository = `stillpoint-test/${uid}`;
  const id = await engine.commit(uid, { repository, tag: "one" });
  const path = await engine.volumePath(volume);
  expect(await readFile(join(path ?? "", "kept"), "utf8")).toBe("two\n");
  await engine.unpause(uid);
  expect(await engine.list()).toEqual(new Map([[uid, "running"]]));

  const chunks: Buffer[] = [];
  for await (const chunk of await engine.images.save(`${repository}:one`)) chunks.push(chunk as Buffer);
  await engine.images.remove(`${repository}:one`);
  expect(await engine.images.find(id)).toBeUndefined();
  await engine.images.load(Readable.from(chunks));
  expect((await engine.images.find(`${repository}:one`))?.id).toBe(id);
  await engine.images.tag(`${repository}:one`, { repository, tag: "two" });
  await engine.images.remove(`${repository}:one`);
  {
    await using copy = await running(`${repository}:two`);
    expect(await engine.readFile(copy.uid, "/written")).toEqual(Buffer.from("one\n"));
    expect(await engine.readFile(copy.uid, "/data/kept")).toBeUndefined();
  }
  await engine.images.remove(`${repository}:two`);
  await engine.images.remove(`${repository}:two`);
  expect(await engine.images.find(id)).toBeUndefined();
});

test("a container goes on after a pause that froze a command as it was being started", async () => {
  await using container = await running(image);
  const { uid } = container;
  const { Id } = await real.docker.getContainer(uid).inspect();
  const isBeingStarted = () => {
    const pids = processesIn(findGroup(Id) ?? { path: "", version: 1 });
    return pids.some((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("runc"));
  };
  let caught = 0;
  for (let tried = 0; caught < 2; tried++) {
    if (tried === 200) throw new Error("no command was ever caught");
    const exec = await real.docker.getContainer(uid).exec({ Cmd: ["true"] });
    const begun = exec.start({ Detach: true }).catch(() => undefined); // the engine may hear of the pause first
    await delay(tried % 60);
    await engine.pause(uid);
    if (isBeingStarted()) caught++;
    await engine.unpause(uid);
    expect((await engine.find(uid))?.state).toBe("running");
    await begun;
  }
});

test("a command holds until its input is closed, through a pause", async () => {
  await using container = await running(image);
  const { uid } = container;
  const script = "echo ready; cat >/dev/null; echo released; exit 9";
  const session = await engine.exec(uid, { ...command, command: ["sh", "-c", script], input: true });
  const output = session.output[Symbol.asyncIterator]();
  expect((await output.next()).value?.bytes.toString()).toBe("ready\n");
  await engine.pause(uid);
  await session.write(Buffer.from("more"));
  await engine.unpause(uid);
  session.closeInput();
  expect((await output.next()).value?.bytes.toString()).toBe("released\n");
  expect((await output.next()).done).toBe(true);
  expect(await session.exitCode()).toBe(9);
});

test("a command that is ended takes its children with it", async () => {
  await using container = await running(image);
  const script = "echo ready; sleep 7777 & wait";
  const session = await engine.exec(container.uid, { ...command, command: ["sh", "-c", script], input: true });
  await session.output[Symbol.asyncIterator]().next();
  await session.end();
  const left = async () => {
    const look = await engine.exec(container.uid, { ...command, command: ["ps"], input: false });
    let text = "";
    for await (const { bytes } of look.output) text += bytes;
    return text;
  };
  await expect.poll(left, { timeout: 10_000 }).not.toContain("sleep 7777");
});

test("events are told from any time on, and until one", async () => {
  const since = Date.now() * 1e6;
  await using container = await running(image, "exit 3");
  const { uid } = container;
  const seen: string[] = [];
  for await (const event of await engine.events({ since }, AbortSignal.timeout(20_000))) {
    seen.push(`${event.uid === uid} ${event.kind}`);
    if (event.kind === "ended") {
      expect(event.exitCode).toBe(3);
      break;
    }
  }
  expect(seen).toEqual(["true started", "true ended"]);
  const again: string[] = [];
  const until = Date.now() * 1e6;
  for await (const { kind } of await engine.events({ since, until }, AbortSignal.timeout(20_000))) again.push(kind);
  expect(again).toEqual(["started", "ended"]);
});

test("what is at a path is told without following a link", async () => {
  await using container = await running(image);
  expect(await engine.look(container.uid, "/bin/busybox")).toMatchObject({ isLink: false });
  expect(await engine.look(container.uid, "/bin/sh")).toMatchObject({ isLink: true });
  expect(await engine.look(container.uid, "/bin/nosuch")).toBeUndefined();
});

test("memory is saved and gone on from where the host has CRIU; elsewhere the engine says that it cannot", async () => {
  await using folder = temporaryFolder();
  await using container = await running(image, "i=0; while :; do i=$((i+1)); echo $i >/data/i; sleep 0.1; done");
  const { uid, recipe } = container;
  const memory = join(folder.path, "memory");
  const count = async () => Number(await engine.readFile(uid, "/data/i"));
  await expect.poll(count, { timeout: 10_000 }).toBeGreaterThan(20);
  await engine.pause(uid);
  if (!(await engine.probe()).canCheckpoint) {
    const said = { reason: "ENGINE_FAILED", message: expect.stringMatching(/experimental/) };
    await expect(engine.saveMemory(uid, memory)).rejects.toMatchObject(said);
    return;
  }
  await engine.saveMemory(uid, memory);
  expect((await engine.find(uid))?.state).toBe("paused");
  const before = await count();
  await engine.remove(uid);
  await engine.create(recipe);
  await engine.startFromMemory(uid, memory);
  await expect.poll(count, { timeout: 10_000 }).toBeGreaterThan(before);
}, 60_000);
