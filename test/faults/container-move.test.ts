import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Container, ContainerSpec } from "#contracts/container/v1/container";
import {
  dockerEngine,
  engineLeftovers,
  eventually,
  freePort,
  isLong,
  type TestEngine,
  temporaryFolder,
} from "#libs/testing";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { repository } from "../harness/command.ts";
import { EngineOfAnother, nameInShared } from "../harness/engine-of-another.ts";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { diesAt } from "./dies-at.ts";
import { faultRuns } from "./fault-run.ts";
import { carryThrough, carryToEnd, untilAnswered } from "./patient-api.ts";

const parent = "projects/default";
const name = `${parent}/containers/web`;
const program =
  "echo started >>/data/log; cp /run/secrets/key /data/key; trap 'echo ended >>/data/log; exit 0' TERM; while :; do sleep 0.1; done";

/** Where the process dies: of the container service, of the agent that it leaves, of the one that it comes to. */
const points = [
  ["container.move.stop.committed", "container"],
  ["container.move.take.after", "container"],
  ["container.move.switch.before", "container"],
  ["container.move.switch.after", "container"],
  ["container.move.conclude.before", "container"],
  ["agent.take-offline.after", "source"],
  ["agent.push-checkpoint.planned", "source"],
  ["agent.receive-checkpoint.filled", "target"],
  ["agent.apply-checkpoint.decided", "target"],
  ["agent.delete-container.after", "source"],
] as const;

/** In the short suite one of each process. */
const few = ["container.move.switch.after", "agent.push-checkpoint.planned", "agent.apply-checkpoint.decided"];
const chosen = points
  .filter(([at]) => isLong || few.includes(at))
  .map((point) => [point[0].startsWith("agent.") ? "F3" : "F2", ...point] as const);

/** Two hosts, each with an agent of its own and an engine that is as good as its own. */
describe("a container moves to another host", () => {
  const stack = new AsyncDisposableStack();
  let engine: TestEngine;
  let cluster: Cluster;
  let failpoints: FailpointSwitch;
  /** Both agents come by most of them. */
  let failpointsOfSecond: FailpointSwitch;
  let agents: ReadonlyMap<string, SupervisedProcess>;
  let port = 0;
  const run = faultRuns(() => cluster);
  beforeAll(async () => {
    engine = stack.use(await dockerEngine());
    const folder = stack.use(temporaryFolder()).path;
    const names = [...new Set(points.map(([at]) => at))];
    const actions = {
      ...Object.fromEntries(names.map((at) => [at, "kill" as const])),
      "container.move.apply.after": "throw" as const,
    };
    failpoints = await FailpointSwitch.create(join(folder, "failpoints"), actions);
    failpointsOfSecond = await FailpointSwitch.create(join(folder, "failpoints-n2"), actions);
    const env = { STILLPOINT_FAILPOINTS: failpoints.specification };
    cluster = stack.use(await startCluster({ ...env, AGENT_DOCKER_HOST: `unix://${engine.socketPath}` }));
    const link = stack.use(await EngineOfAnother.start(engine.socketPath, join(folder, "engine.sock")));
    const data = join(folder, "n2");
    await mkdir(data, { mode: 0o700 });
    const second = {
      STILLPOINT_FAILPOINTS: failpointsOfSecond.specification,
      ...{ NATS_URL: cluster.nats.url, REGISTRY_HTTP_URL: cluster.registryUrl, LOG_LEVEL: "info" },
      ...{ AGENT_HOST_NAME: "n2", AGENT_DATA: data, AGENT_DOCKER_HOST: `unix://${link.path}` },
    };
    const script = join(repository, "services/agent/main.ts");
    const agent = stack.use(SupervisedProcess.start(script, second, join(cluster.folder, "n2.log")));
    agents = new Map([
      ["n1", cluster.services.agent],
      ["n2", agent],
    ]);
    stack.defer(async () => {
      await carryToEnd(cluster, (requestId) =>
        cluster.api.containers.deleteContainer({ name, force: true, withCheckpoints: true, requestId }),
      ).catch(() => undefined);
    });
    const image = await busyboxImage(engine);
    await pushImage(engine, image, new URL(cluster.registryUrl).host, "busybox");
    await eventually(
      async () => (await hosts()).filter(({ capabilities }) => capabilities.includes("docker")).length === 2,
      { deadlineMs: 30_000 },
    );
    port = await freePort();
    const spec = ContainerSpec.fromPartial({
      ...{ image: "busybox", command: ["sh", "-c", program], limits: { cpuMillis: 100 }, drain: "DRAIN_POLICY_MOVE" },
      ...{ volumes: [{ volume: "data", path: "/data" }], secrets: [{ name: "key", value: Buffer.from("quiet") }] },
      ports: [{ hostPort: port, containerPort: 80 }],
    });
    await cluster.api.hosts.cordonHost({ name: "hosts/n2" });
    await carryThrough(cluster, (requestId) =>
      cluster.api.containers.createContainer({
        ...{ parent, containerId: "web", spec, start: true, labels: { tier: "web" } },
        requestId,
      }),
    );
    await cluster.api.hosts.uncordonHost({ name: "hosts/n2" });
    await shell("touch /written; echo data >/data/file");
  }, 240_000);
  afterAll(() => stack.disposeAsync());

  const nameIn = (host: string, uid: string) => (host === "n1" ? uid : nameInShared(uid));
  const hosts = async () => (await cluster.api.hosts.listHosts({ withReservations: true })).hosts;
  const get = () => untilAnswered(() => cluster.api.containers.getContainer({ name }));
  const hostOf = ({ host }: Container) => host.slice("hosts/".length);
  const other = (host: string) => (host === "n1" ? "n2" : "n1");
  const move = (requestId: string, stayStopped = false) =>
    cluster.api.containers.moveContainer({ name, requestId, timeoutSeconds: 5, stayStopped });
  const shell = (script: string): Promise<string> =>
    untilAnswered(async () => {
      async function* asked() {
        yield { start: { name, command: ["sh", "-c", script] } };
        yield { stdinClosed: true };
      }
      let text = "";
      for await (const { stdout, stderr } of cluster.api.containers.execContainer(asked())) {
        text += Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
      }
      return text.trim();
    });
  const drain = async (host: string) => {
    const drained = await carryThrough(cluster, (requestId) =>
      cluster.api.hosts.drainHost({ name: `hosts/${host}`, requestId }),
    );
    return drained.output;
  };
  const events = async () => {
    const seen: string[] = [];
    for await (const { type, data } of cluster.api.events.watchEvents({ filter: "evt.container.v1.*.default.web" })) {
      if (type.endsWith(".moved")) seen.push(JSON.stringify(data));
    }
    return seen;
  };
  /** It is on that host, all of it, and nothing of it on the other one or on its way. */
  const expectOn = async (host: string, state = "CONTAINER_STATE_RUNNING") => {
    const { uid } = await get();
    await eventually(
      async () => {
        const container = await get();
        const held = Object.fromEntries(
          (await hosts()).map((it) => [it.name, it.reservations.map((held) => held.uid)]),
        );
        const { operations } = await cluster.api.operations.listOperations({ unfinishedOnly: true });
        expect({ host: container.host, state: container.state, held, operations: operations.length }).toEqual({
          ...{ host: `hosts/${host}`, state, operations: 0 },
          held: { [`hosts/${host}`]: [uid], [`hosts/${other(host)}`]: [] },
        });
        return true;
      },
      { deadlineMs: 20_000, everyMs: 200 },
    );
    const there = nameIn(other(host), uid);
    const left = (await engineLeftovers(engine.docker, there)).filter((line) => line.includes(there));
    expect(left).toEqual([]);
    const images = await engine.docker.listImages({ all: true });
    expect(
      images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((tag) => tag.includes(nameIn(other(host), uid))),
    ).toEqual([]);
    expect(await pushedTags(uid)).toEqual([]);
  };
  const pushedTags = async (uid: string) => {
    const answer = await fetch(`${cluster.registryUrl}/v2/container-checkpoints/moves/${uid}/tags/list`);
    return answer.status === 404 ? [] : (((await answer.json()) as { tags: string[] | null }).tags ?? []);
  };

  test("F2: a drain moves it: the same container, with its data and its secret, runs on the other host", async () => {
    const before = await get();
    expect(await drain("n1")).toMatchObject({ stopped: [], moved: [{ workload: name, to: "hosts/n2" }], notMoved: [] });
    await expectOn("n2");
    expect(await shell("cat /data/file /data/key; ls /written; cat /data/log")).toBe(
      "data\nquiet/written\nstarted\nended\nstarted",
    );
    const { uid, labels, spec } = await get();
    expect({ uid, labels, spec }).toEqual({ uid: before.uid, labels: before.labels, spec: before.spec });
    const { HostConfig } = await engine.docker.getContainer(nameIn("n2", uid)).inspect();
    expect(HostConfig.PortBindings).toMatchObject({ "80/tcp": [{ HostPort: `${port}` }] });
    expect(await events()).toEqual([expect.stringMatching(/"from":"hosts\/n1".*"to":"hosts\/n2"/)]);
  });

  test("F2: with nowhere to go it is stopped where it is, and the drain says why", async () => {
    expect(await drain("n2")).toMatchObject({
      stopped: [name],
      notMoved: [{ workload: name, why: expect.stringMatching(/^NO_HOST_FITS: .*is cordoned/) as string }],
    });
    await expectOn("n2", "CONTAINER_STATE_STOPPED");
    for (const host of ["n1", "n2"]) await cluster.api.hosts.uncordonHost({ name: `hosts/${host}` });
  });

  test("F2: one that is off moves too and stays off; one with a checkpoint stays", async () => {
    await carryThrough(cluster, move);
    await expectOn("n1", "CONTAINER_STATE_STOPPED");
    await carryThrough(cluster, (requestId) => cluster.api.containers.startContainer({ name, requestId }));
    const taken = await carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.createCheckpoint({ parent: name, requestId }),
    );
    expect(await carryToEnd(cluster, move)).toMatchObject({
      error: {
        reason: "CONTAINER_NOT_MOVABLE",
        message: expect.stringContaining("checkpoints stay on their host") as string,
      },
    });
    await expectOn("n1");
    const checkpoint = String(taken.output?.name ?? taken.output?.checkpoint);
    await carryThrough(cluster, (requestId) =>
      cluster.api.checkpoints.deleteCheckpoint({ name: checkpoint, requestId }),
    );
  });

  test("F2: a move that fails is taken back: it runs where it was", async () => {
    const log = await shell("cat /data/log");
    await failpoints.arm("container.move.apply.after");
    expect(await carryToEnd(cluster, move)).toMatchObject({ state: "OPERATION_STATE_FAILED" });
    await expectOn("n1");
    await eventually(async () => (await shell("cat /data/log")) === `${log}\nended\nstarted`);
    await failpoints.arm("container.move.apply.after");
    await carryToEnd(cluster, (requestId) => move(requestId, true));
    await expectOn("n1", "CONTAINER_STATE_STOPPED");
    await carryThrough(cluster, (requestId) => cluster.api.containers.startContainer({ name, requestId }));
  });

  test.for(chosen)("%s: kill -9 at %s of the %s", { timeout: 120_000 }, async ([, at, who]) => {
    const from = hostOf(await get());
    const to = other(from);
    const log = await shell("cat /data/log");
    const host = who === "container" ? undefined : who === "target" ? to : from;
    const victim = host === undefined ? cluster.services.container : (agents.get(host) ?? cluster.services.agent);
    const armed = host === "n2" ? failpointsOfSecond : failpoints;
    await diesAt({ run: run(), failpoints: armed, at, victim, who }, () => carryThrough(cluster, move));
    await expectOn(to);
    await eventually(async () => (await shell("cat /data/log")) === `${log}\nended\nstarted`);
    expect(await shell("cat /data/file; ls /written")).toBe("data\n/written");
  });
});
