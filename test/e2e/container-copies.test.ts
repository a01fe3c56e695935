import { appendFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ContainerSpec } from "#contracts/container/v1/container";
import type { ReceiveCheckpoint } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { createRegistryClient, findRemoteContainer } from "#libs/oci";
import { eventually } from "#libs/testing";
import { ContainerHost, type TestContainer } from "../harness/container-host.ts";
import { baseImage } from "../images/build.ts";

let host: ContainerHost;
let debian: string;

beforeAll(async () => {
  host = await ContainerHost.start();
  debian = await host.push(await baseImage(host.engine), "base");
}, 180_000);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

const volumes = [
  { volume: "data", path: "/data", readOnly: false, excludeFromCheckpoints: false, hostPath: "" },
] satisfies ContainerSpec["volumes"];
/** Its image comes with a checkpoint. */
const empty = () => host.create("base@sha256:aa", { fromCheckpoint: "elsewhere", volumes });

async function sh(container: TestContainer, script: string): Promise<string> {
  const { code, text } = await container.run("sh", "-c", script);
  if (code !== 0) throw new Error(`${script}: ${text}`);
  return text.trim();
}

async function running(): Promise<TestContainer> {
  const container = await host.create(debian, { volumes });
  await container.start();
  await sh(container, "echo one >/data/a; ln -s a /data/l; ln /data/a /data/h; mkfifo /data/p; chown 12:34 /data/a");
  await sh(container, "truncate -s 64M /data/hole; head -c 3000000 /dev/urandom >/data/big; echo x >/root/x");
  return container;
}

async function take(container: TestContainer): Promise<string> {
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  const { checkpoint } = await container.act({ $case: "takeProduction", value });
  expect(checkpoint?.refusedReason).toBe("");
  return checkpointUid;
}

const apply = (container: TestContainer, checkpointUid: string) =>
  container.act({
    $case: "applyCheckpoint",
    value: { checkpointUid, generationId: crypto.randomUUID(), leaveOff: false },
  });

const receive = (container: TestContainer, checkpointUid: string, source: ReceiveCheckpoint["source"]) =>
  container.act({ $case: "receiveCheckpoint", value: { checkpointUid, parentCheckpointUid: "", source } });

const record = {
  ...{ name: "one", displayName: "one", consistency: "filesystem", parent: "", receipt: {}, spec: {} },
  createTime: new Date(0).toISOString(),
};
const push = (workloadUid: string, checkpointUid: string, repository: string) =>
  host.agent.host.act(checkpointUid, {
    $case: "pushCheckpoint",
    value: { workloadUid, checkpointUid, repository, tag: "one", record },
  });

const digestsOf = (container: TestContainer, checkpointUid: string) =>
  eventually(
    () => {
      const told = container.told().map(({ happened }) => (happened?.$case === "digests" ? happened.value : undefined));
      return told.find((it) => it?.checkpointUid === checkpointUid)?.digests;
    },
    { deadlineMs: 20_000 },
  );

const copies = (uid: string) => join(host.folder, "agent/containers", uid, "checkpoints");
const LOOK = "cat /data/l /root/x; stat -c '%b %u:%g %h' /data/hole /data/a; sha256sum /data/big; ls /data";

test("digests of volumes are told; a clone shares their files, outlives its source, and is refused when damaged", async () => {
  await using container = await running();
  const checkpointUid = await take(container);
  const told = await digestsOf(container, checkpointUid);
  expect(told).toEqual({ data: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
  const found = await host.agent.host.client.getWorkload({ uid: container.uid });
  expect(found.storage?.sizes).toMatchObject([{ uid: checkpointUid, ownBytes: expect.any(Number) }]);
  expect(found.storage?.freeBytes).toBeGreaterThan(0);

  await using clone = await empty();
  const copyUid = systemRandom.id("ckpt");
  const value = { workloadUid: container.uid, checkpointUid, fullCopy: false };
  for (let again = 0; again < 2; again++) await receive(clone, copyUid, { $case: "local", value });
  expect(await digestsOf(clone, copyUid)).toEqual(told);
  const file = (uid: string, checkpoint: string) => join(copies(uid), checkpoint, "volumes/data/a");
  const inode = async (path: string) => (await stat(path)).ino;
  expect(await inode(file(clone.uid, copyUid))).toBe(await inode(file(container.uid, checkpointUid)));
  const before = await sh(container, LOOK);
  await container.act({ $case: "removeCheckpoints", value: { checkpointUids: [checkpointUid] } });
  await apply(clone, copyUid);
  await clone.start();
  expect(await sh(clone, LOOK)).toBe(before);

  await appendFile(file(clone.uid, copyUid), "more");
  const why = expect.stringMatching(/files of volume data have changed/) as string;
  const refused = { reason: "CHECKPOINT_DAMAGED", message: why };
  await expect(apply(clone, copyUid)).rejects.toMatchObject(refused);
  await expect(push(clone.uid, copyUid, "copies/damaged")).rejects.toMatchObject(refused);
  expect(await sh(clone, "cat /data/a")).toBe("one");
});

test("a push and a pull that are killed anywhere go on, and come back whole", async () => {
  await using container = await running();
  const checkpointUid = await take(container);
  for (const point of ["planned", "chunk", "after"]) {
    await killedAt(`agent.push-checkpoint.${point}`, () => push(container.uid, checkpointUid, "copies/one"));
  }
  const { pushed } = await push(container.uid, checkpointUid, "copies/one");
  const registry = createRegistryClient({ address: host.registry });
  const { descriptor } = await findRemoteContainer(registry, "copies/one:one").finally(() => registry.close());
  expect(pushed?.digest).toBe(descriptor.digest);

  await using copy = await empty();
  const copyUid = systemRandom.id("ckpt");
  const pull = () => receive(copy, copyUid, { $case: "reference", value: `copies/one@${descriptor.digest}` });
  for (const point of ["chunk", "filled", "after"]) await killedAt(`agent.receive-checkpoint.${point}`, pull);
  await pull();
  expect(await readdir(copies(copy.uid))).toEqual([copyUid]);
  expect(await digestsOf(copy, copyUid)).toEqual(await digestsOf(container, checkpointUid));
  await apply(copy, copyUid);
  await copy.start();
  expect(await sh(copy, LOOK)).toBe(await sh(container, LOOK));
  await using other = await host.create(debian, {});
  await expect(
    receive(other, systemRandom.id("ckpt"), { $case: "reference", value: "copies/one:one" }),
  ).rejects.toMatchObject({ reason: "CHECKPOINT_MISFIT" });
}, 120_000);

async function killedAt(failpoint: string, work: () => Promise<unknown>): Promise<void> {
  await restart(`${failpoint}=kill`);
  await expect(work()).rejects.toThrow();
  await host.agent.ended;
  await host.agent.start();
}

async function restart(failpoints: string): Promise<void> {
  await host.agent.end("SIGTERM");
  await host.agent.start({ STILLPOINT_FAILPOINTS: failpoints });
}
