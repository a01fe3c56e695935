import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerSpec } from "#contracts/container/v1/container";
import { createRegistryClient, findRemoteContainer } from "#libs/oci";
import { dockerEngine, eventually, freePort, isLong, type TestEngine, temporaryFolder } from "#libs/testing";
import { type Cluster, type ServiceName, startCluster } from "../harness/cluster.ts";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { diesAt } from "./dies-at.ts";
import { draw } from "./draw.ts";
import { faultRuns, runSeed } from "./fault-run.ts";
import { carryThrough, carryToEnd, untilAnswered } from "./patient-api.ts";

const parent = "projects/default";
const nameOf = (id: string) => `${parent}/containers/${id}`;
const reference = "faults/source:base";
const inTheMiddle = "agent.push-checkpoint.planned";

const receive = ["create-vm", "hold", "receive", "publish", "apply", "move-head", "start"];
const steps = {
  push: ["checkpoint.push.push", "checkpoint.push.record", "agent.push-checkpoint"],
  clone: [...receive.map((step) => `checkpoint.receive.${step}`), "agent.receive-checkpoint", "agent.apply-checkpoint"],
  pull: ["checkpoint.receive.receive", "checkpoint.receive.apply", "agent.receive-checkpoint"],
} as const;
type Job = keyof typeof steps;

interface Point {
  readonly job: Job;
  readonly at: string;
}

/** Within a step. */
const inside: readonly Point[] = [
  { job: "push", at: "agent.push-checkpoint.chunk" },
  { job: "clone", at: "agent.receive-checkpoint.filled" },
  { job: "clone", at: "agent.apply-checkpoint.decided" },
  { job: "pull", at: "agent.receive-checkpoint.chunk" },
];
const others = (Object.keys(steps) as Job[]).flatMap((job) =>
  steps[job].flatMap((step) =>
    ["before", "after", "committed"].map((moment): Point => ({ job, at: `${step}.${moment}` })),
  ),
);

/** In the short suite the inside of steps, and some more. */
const chosen = [...inside, ...(isLong ? others : draw(others, runSeed, 4))];

describe(`kill -9 while checkpoints of containers are copied, at ${chosen.length} points`, () => {
  const stack = new AsyncDisposableStack();
  let engine: TestEngine;
  let cluster: Cluster;
  let failpoints: FailpointSwitch;
  let base: string;
  const faults = faultRuns(() => cluster);
  beforeAll(async () => {
    engine = stack.use(await dockerEngine());
    const folder = stack.use(temporaryFolder());
    const kills = Object.fromEntries([...inside, ...others].map(({ at }) => [at, "kill" as const]));
    const actions = { ...kills, [inTheMiddle]: "delay:2000" as const };
    failpoints = await FailpointSwitch.create(join(folder.path, "failpoints"), actions);
    const env = { STILLPOINT_FAILPOINTS: failpoints.specification, AGENT_DOCKER_HOST: `unix://${engine.socketPath}` };
    cluster = stack.use(await startCluster(env));
    stack.defer(async () => {
      for (const { name } of await list()) await remove(name);
    });
    await pushImage(engine, await busyboxImage(engine), new URL(cluster.registryUrl).host, "busybox");
    await create("source");
    const fill = "echo word >/data/word; head -c 2000000 /dev/urandom >/data/big; echo here >/layer";
    expect(await run("source", fill)).toBe("");
    const { output } = await carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.createCheckpoint({ parent: nameOf("source"), displayName: "base", requestId }),
    );
    base = String(output?.name ?? output?.checkpoint);
    await push(reference);
  }, 240_000);
  afterAll(() => stack.disposeAsync());

  const list = async () => (await cluster.api.containers.listContainers({ parent })).containers;
  const remove = (name: string) =>
    carryThrough(cluster, (requestId) =>
      cluster.api.containers.deleteContainer({ name, force: true, withCheckpoints: true, requestId }),
    );
  const create = (containerId: string) => {
    const spec = ContainerSpec.fromPartial({
      ...{ image: "busybox", command: ["sleep", "1000"], limits: { cpuMillis: 100 } },
      ...{ volumes: [{ volume: "data", path: "/data" }], secrets: [{ name: "key", value: Buffer.from("secret") }] },
    });
    return carryThrough(cluster, (requestId) =>
      cluster.api.containers.createContainer({ parent, containerId, spec, start: true, requestId }),
    );
  };
  const push = (to: string) =>
    carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.pushCheckpoint({ name: base, reference: to, requestId }),
    );
  const clone = (vmId: string) =>
    carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.cloneCheckpoint({ name: base, vmId, start: true, requestId }),
    );
  const pull = (containerId: string) =>
    carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.pullCheckpoint({ reference, parent, containerId, start: true, requestId }),
    );

  async function run(id: string, script: string): Promise<string> {
    async function* requests() {
      yield { start: { name: nameOf(id), command: ["/bin/busybox", "sh", "-c", script] }, stdinClosed: true };
    }
    let text = "";
    for await (const { stdout, stderr } of cluster.api.containers.execContainer(requests())) {
      text += Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
    }
    return text;
  }

  /** Nothing is under way or held; the registry has no tag but those of checkpoints. */
  async function settled(): Promise<true> {
    const { operations } = await cluster.api.operations.listOperations({ unfinishedOnly: true });
    const containers = await list();
    const { operation } = await cluster.api.checkpoints.getCheckpoint({ name: base });
    const held = containers.filter((it) => it.operation !== "").map(({ name }) => name);
    expect({ operations, held, operation }).toEqual({ operations: [], held: [], operation: "" });
    return true;
  }

  async function expectPushed(to: string): Promise<void> {
    const { pushed } = await cluster.api.checkpoints.getCheckpoint({ name: base });
    const registry = createRegistryClient({ address: cluster.registryUrl });
    try {
      const { repository, descriptor, volumes } = await findRemoteContainer(registry, to);
      expect(pushed.filter((it) => it.reference === to)).toMatchObject([{ digest: descriptor.digest }]);
      for (const { blob } of volumes.flatMap(({ chunks }) => chunks)) await registry.readBlob(repository, blob);
      expect(await registry.hasManifest(repository, `image-${base.split("/").at(-1)}`)).toBe(false);
    } finally {
      registry.close();
    }
  }

  const act: Readonly<Record<Job, (id: string) => Promise<void>>> = {
    async push(id) {
      await push(`faults/${id}:one`);
      await expectPushed(`faults/${id}:one`);
    },
    async clone(id) {
      await clone(id);
      expect(await untilAnswered(() => run(id, "cat /data/word /layer /run/secrets/key"))).toBe("word\nhere\nsecret");
      await remove(nameOf(id));
    },
    async pull(id) {
      await pull(id);
      expect(await untilAnswered(() => run(id, "cat /data/word /layer; ls /run/secrets 2>/dev/null"))).toBe(
        "word\nhere\n",
      );
      await remove(nameOf(id));
    },
  };

  const rowOf = ({ at }: Point) => (at.startsWith("agent.") ? "F3" : "F2");
  test.for(chosen.map((point, i) => [`${rowOf(point)}: ${point.job}:${point.at}`, point, i] as const))(
    "%s",
    { timeout: 120_000 },
    async ([, { job, at }, i]) => {
      const who = at.split(".")[0] as ServiceName;
      const death = { run: faults(), failpoints, at, victim: cluster.services[who], who };
      await diesAt(death, () => act[job](`${job}-${i}`));
      await eventually(settled, { deadlineMs: 20_000, everyMs: 100 });
    },
  );

  test("F2: a push outlives a kill of the registry", { timeout: 120_000 }, async () => {
    const before = cluster.services.registry.deaths;
    await failpoints.arm(inTheMiddle);
    const pushing = push("faults/registry:one");
    await failpoints.untilFired(inTheMiddle);
    cluster.services.registry.kill("SIGKILL");
    faults().fault("kill", "registry");
    await pushing;
    await cluster.services.registry.untilDead(before, 10_000);
    await expectPushed("faults/registry:one");
  });

  test("F2: a clone that cannot be started leaves nothing", { timeout: 60_000 }, async () => {
    const hostPort = await freePort();
    const ports = [{ hostPort, guestPort: 80 }];
    const copy = (vmId: string, requestId: string) =>
      cluster.api.checkpoints.cloneCheckpoint({ name: base, vmId, start: true, ports, requestId });
    await carryThrough(cluster, (requestId) => copy("first", requestId));
    const { error } = await carryToEnd(cluster, (requestId) => copy("second", requestId));
    expect(error?.reason).toMatch(/PORT_TAKEN|NO_HOST_FITS/);
    await eventually(settled, { deadlineMs: 20_000 });
    expect((await list()).map(({ name }) => name)).not.toContain(nameOf("second"));
    await remove(nameOf("first"));
  });
});
