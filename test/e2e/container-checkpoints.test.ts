import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ContainerSpec, ContainerState } from "#contracts/container/v1/container";
import { systemRandom } from "#libs/clock";
import { casesOf, eventually } from "#libs/testing";
import { ContainerHost, type TestContainer } from "../harness/container-host.ts";
import { baseImage, databaseImage, programImage } from "../images/build.ts";
import { commitsOf } from "./database-commits.ts";
import { mappedPairIn, mappedPairWriter } from "./mapped-pair.ts";

let host: ContainerHost;
let debian: string;
let database: string;

beforeAll(async () => {
  host = await ContainerHost.start();
  debian = await host.push(await baseImage(host.engine), "base");
  database = await host.push(await databaseImage(host.engine), "database");
}, 180_000);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

const volume = (name: string, path: string, excludeFromCheckpoints = false) => ({
  ...{ volume: name, path, readOnly: false, excludeFromCheckpoints, hostPath: "" },
});

/** Says "ready" and holds until its input is closed. */
const HOLD = ["sh", "-c", "echo ready; cat >/dev/null"];

async function take(container: TestContainer, windowMs = 0) {
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: windowMs, excludeDisks: [] };
  const { checkpoint } = await container.act({ $case: "takeProduction", value });
  if (checkpoint === undefined) throw new Error("no outcome");
  return { checkpointUid, ...checkpoint };
}

const apply = (container: TestContainer, checkpointUid: string) =>
  container.act({
    $case: "applyCheckpoint",
    value: { checkpointUid, generationId: crypto.randomUUID(), leaveOff: false },
  });

async function sh(container: TestContainer, script: string): Promise<string> {
  const { code, text } = await container.run("sh", "-c", script);
  if (code !== 0) throw new Error(`${script}: ${text}`);
  return text.trim();
}

async function running(change: Partial<ContainerSpec>): Promise<TestContainer> {
  const container = await host.create(debian, change);
  await container.start();
  return container;
}

test("volumes and writable layer come back as they were; what is excluded stays; what is deleted leaves nothing", async () => {
  {
    await using container = await running({
      volumes: [volume("data", "/data"), volume("cache", "/cache", true)],
      quiesceCommand: HOLD,
    });
    await sh(container, "echo one >/data/a; echo keep >/data/b; ln /data/b /data/c; chown 1234:5678 /data/b");
    await sh(container, "truncate -s 64M /data/hole; mkdir -m 700 /data/d; echo x >/root/layer; echo c1 >/cache/c");
    const first = await take(container);
    expect(first).toMatchObject({ refusedReason: "" });
    expect(first.evidence).toMatchObject({
      pauseMs: expect.any(Number),
      pause: { windowMs: 10_000, quiesce: { program: "sh", exitCode: 0 } },
      disks: [
        { id: "root", included: true, layer: expect.stringMatching(/^sha256:/) },
        { id: "data", included: true },
        { id: "cache", included: false },
      ],
    });
    await sh(
      container,
      "echo two >/data/a; rm -r /data/c /data/d; chmod 600 /data/b; echo y >/root/layer; echo c2 >/cache/c",
    );
    const second = await take(container);
    expect(second.refusedReason).toBe("");
    expect(second.sizeBytes).toBeLessThan(1_000_000);
    await sh(container, "rm -rf /data/* /root/layer");

    await apply(container, first.checkpointUid);
    expect(await container.status()).toMatchObject({ state: ContainerState.STOPPED });
    await container.start();
    const look = "stat -c '%a %u %g %h' /data/b; stat -c '%b' /data/hole; cat /data/a /root/layer /cache/c; ls /data";
    expect(await sh(container, look)).toBe("644 1234 5678 2\n0\none\nx\nc2\na\nb\nc\nd\nhole");
    await apply(container, second.checkpointUid);
    await container.start();
    expect(await sh(container, "stat -c '%a %h' /data/b; cat /data/a /root/layer")).toBe("600 1\ntwo\ny");

    const value = { checkpointUids: [first.checkpointUid, second.checkpointUid] };
    await container.act({ $case: "removeCheckpoints", value });
    expect(await checkpointImages(container)).toEqual([`stillpoint/${container.uid}:now`]);
    expect(await readdir(join(host.folder, "agent/containers", container.uid, "checkpoints"))).toEqual([]);
    expect(await sh(container, "cat /data/a")).toBe("two");
  }
  expect(await host.leftovers()).toEqual([]);
});

const QUIESCE_POSTGRES = ["sh", "-c", "psql -U postgres -qc CHECKPOINT && echo ready && cat >/dev/null"];

test("a database under load comes back with every commit that it had acknowledged", async () => {
  const spec = {
    command: [],
    quiesceCommand: QUIESCE_POSTGRES,
    limits: { cpuMillis: 1_000, memoryBytes: 256 * 2 ** 20, pids: 100 },
  };
  await using container = await host.create(database, spec);
  await container.start();
  const psql = (sql: string) => sh(container, `psql -U postgres -Atqc "${sql}"`);
  await eventually(() => psql("select 1"), { deadlineMs: 20_000 });
  await psql("create table t (i int primary key, pad text)");
  await sh(container, "pgbench -U postgres -qi");
  const load = container.run("sh", "-c", "pgbench -U postgres -c 2 -T 60 -n");
  const commits = commitsOf(host, container);
  await eventually(() => commits.acknowledged > 20, { deadlineMs: 30_000 });
  const before = commits.acknowledged;
  const taken = await take(container);
  expect(taken).toMatchObject({ refusedReason: "", evidence: { pause: { quiesce: { exitCode: 0 } } } });
  expect(await psql("select 1")).toBe("1");
  await psql("drop table t");
  await apply(container, taken.checkpointUid);
  await Promise.all([load, commits.ended]);
  await container.start();
  await eventually(() => psql("select 1"), { deadlineMs: 20_000 });
  const [count = 0, last = 0] = (await psql("select count(*), max(i) from t")).split("|").map(Number);
  expect(count).toBeGreaterThanOrEqual(before);
  expect(last).toBe(count);
  await psql("insert into t values (0, '')");
}, 90_000);

test("the next checkpoint shares the files that have not changed since", async () => {
  await using container = await running({ volumes: [volume("data", "/data")], quiesceCommand: HOLD });
  await sh(container, "for i in $(seq 200); do echo $i >/data/$i; done");
  const [first, second] = [await take(container), await take(container)];
  expect([first.refusedReason, second.refusedReason]).toEqual(["", ""]);
  const copies = join(host.folder, "agent/containers", container.uid, "checkpoints");
  const inode = async (uid: string) => (await stat(join(copies, uid, "volumes/data/7"))).ino;
  expect(await inode(first.checkpointUid)).toBe(await inode(second.checkpointUid));
  expect(second.sizeBytes).toBeLessThan(first.sizeBytes);
});

test("files that are written through a mapping are of one instant, also where the checkpoint below has them", async () => {
  const image = await host.push(await programImage(host.engine, "perl"), "perl");
  await using container = await host.create(image, {
    command: mappedPairWriter,
    volumes: [volume("data", "/data")],
  });
  await container.start();
  const { Mounts } = await host.engine.docker.getContainer(container.uid).inspect();
  const live = Mounts.find(({ Destination }) => Destination === "/data")?.Source ?? "";
  const reached = (count: number) =>
    eventually(async () => (await mappedPairIn(live))[1] > count, { deadlineMs: 20_000 });
  await reached(1_000);
  for (let round = 0; round < 3; round++) {
    const [, before] = await mappedPairIn(live);
    const { checkpointUid, refusedReason } = await take(container);
    expect(refusedReason).toBe("");
    const checkpoint = join(host.folder, "agent/containers", container.uid, "checkpoints", checkpointUid);
    const [first, second] = await mappedPairIn(join(checkpoint, "volumes/data"));
    expect(second).toBeGreaterThanOrEqual(before);
    expect([0, 1]).toContain(first - second);
    await reached(second + 1_000);
  }
});

test.each([
  ["fails", ["sh", "-c", "echo no lock >&2; exit 3"], "quiesce.failed", /ended with 3 before .*no lock/],
  ["does not get ready", ["sleep", "600"], "quiesce.timeout", /1000 ms/],
  ["fails at its end", ["sh", "-c", "echo ready; cat; exit 4"], "quiesce.failed", /ended with 4/],
  ["does not end", ["sh", "-c", "echo ready; exec sleep 600"], "quiesce.failed", /did not end/],
])(
  "a quiesce command that %s leaves the container running and nothing behind",
  async (_what, quiesceCommand, reason, why) => {
    await using container = await running({ quiesceCommand });
    const outcome = await take(container, 1_000);
    expect(outcome).toMatchObject({ refusedReason: reason, refusedDetail: expect.stringMatching(why) });
    expect((await host.engine.docker.getContainer(container.uid).inspect()).State.Status).toBe("running");
    expect(await container.status()).toMatchObject({ state: ContainerState.RUNNING, restarts: 0 });
    expect(await checkpointImages(container)).toEqual([]);
    expect(await sh(container, "ps -eo args | grep -c '[s]leep 600' || true")).toBe("0");
  },
);

test("a pause that takes longer than its window ends with the window", async () => {
  await restart("agent.container-checkpoint.paused=delay:1500");
  await using container = await running({ quiesceCommand: HOLD });
  expect(await take(container, 1_000)).toMatchObject({
    refusedReason: "pause.window_exceeded",
    evidence: { pause: { pauseMs: expect.any(Number), windowMs: 1_000 } },
  });
  await restart();
  expect(container.told().map(({ happened }) => happened)).not.toContainEqual({
    container: { state: ContainerState.PAUSED },
  });
});

test("an agent that is killed while a container stands still lets it go on when it comes back", async () => {
  await using container = await running({ volumes: [volume("data", "/data")], quiesceCommand: HOLD });
  await restart("agent.container-checkpoint.paused=kill");
  await expect(take(container)).rejects.toThrow();
  await host.agent.ended;
  const inspect = () => host.engine.docker.getContainer(container.uid).inspect();
  expect((await inspect()).State.Paused).toBe(true);
  await host.agent.start();
  expect((await inspect()).State.Status).toBe("running");
  expect(await readdir(join(host.folder, "agent/containers", container.uid, "checkpoints"))).toEqual([]);
  expect(await checkpointImages(container)).toEqual([]);
  expect((await take(container)).refusedReason).toBe("");
});

const applied = casesOf<readonly [point: string, expected: string]>(
  [
    ["prepared", "two"],
    ["made", "one"],
  ],
  [
    ["decided", "one"],
    ["removed", "one"],
    ["switched", "one"],
  ],
);
test.for(applied)("an apply that is killed when it is %s ends whole", async ([point, expected]) => {
  await using container = await running({ volumes: [volume("data", "/data"), volume("more", "/more")] });
  const write = (word: string) => sh(container, `echo ${word} | tee /data/a /more/a >/root/a`);
  await write("one");
  const { checkpointUid } = await take(container);
  await write("two");
  await restart(`agent.apply-checkpoint.${point}=kill`);
  await expect(apply(container, checkpointUid)).rejects.toThrow();
  await host.agent.ended;
  await host.agent.start();
  if (expected === "one") await container.start();
  expect(await sh(container, "cat /data/a /more/a /root/a")).toBe(Array(3).fill(expected).join("\n"));
});

async function restart(failpoints = ""): Promise<void> {
  await host.agent.end("SIGTERM");
  await host.agent.start({ STILLPOINT_FAILPOINTS: failpoints });
}

async function checkpointImages({ uid }: TestContainer): Promise<string[]> {
  const images = await host.engine.docker.listImages();
  return images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((tag) => tag.startsWith(`stillpoint/${uid}:`));
}
