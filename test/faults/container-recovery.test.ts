import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerSpec } from "#contracts/container/v1/container";
import { dockerEngine, eventually, type TestEngine, temporaryFolder } from "#libs/testing";
import { endGroup, findGroup, hasProcesses, isFrozen } from "../../services/agent/lease/control-group.ts";
import { isGone } from "../../services/agent/testing/process-state.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { repository } from "../harness/command.ts";
import { endContainer } from "../harness/end-container.ts";
import { EngineOfAnother, nameInShared } from "../harness/engine-of-another.ts";
import { FaultProxy } from "../harness/fault-proxy.ts";
import { stopGuard } from "../harness/stop-guard.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { faultRuns } from "./fault-run.ts";
import { expectNoLateStart } from "./late-start.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import { runsIn } from "./runs-once.ts";

const parent = "projects/default";
/** Counts into its volume; one that is not alone would count on what the other has written. */
const counts =
  "n=$(cat /data/n 2>/dev/null || echo 0); while :; do n=$((n+1)); echo $n >/data/t; mv /data/t /data/n; sleep 0.05; done";

/** Two hosts on one engine. Containers begin on n2, whose way to NATS can be cut; n1 is where they are recovered. */
describe("F9: containers whose host fails", () => {
  const stack = new AsyncDisposableStack();
  const run = faultRuns(() => cluster);
  let engine: TestEngine;
  let cluster: Cluster;
  let agent: SupervisedProcess;
  let proxy: FaultProxy;
  let data = "";
  beforeAll(async () => {
    engine = stack.use(await dockerEngine());
    const folder = stack.use(temporaryFolder()).path;
    const env = { HOST_DOWN_AFTER_SECONDS: "6" };
    cluster = stack.use(await startCluster({ ...env, AGENT_DOCKER_HOST: `unix://${engine.socketPath}` }));
    const link = stack.use(await EngineOfAnother.start(engine.socketPath, join(folder, "engine.sock")));
    proxy = stack.use(await FaultProxy.start({ port: Number(new URL(cluster.nats.url).port) }));
    data = join(folder, "n2");
    await mkdir(data, { mode: 0o700 });
    const second = {
      ...{ NATS_URL: `nats://127.0.0.1:${proxy.port}`, REGISTRY_HTTP_URL: cluster.registryUrl, LOG_LEVEL: "info" },
      ...{ AGENT_HOST_NAME: "n2", AGENT_DATA: data, AGENT_DOCKER_HOST: `unix://${link.path}` },
      AGENT_ADDRESS: `unix:${join(folder, "n2.sock")}`,
    };
    const script = join(repository, "services/agent/main.ts");
    agent = stack.use(SupervisedProcess.start(script, second, join(cluster.folder, "n2.log")));
    stack.defer(endAll);
    await pushImage(engine, await busyboxImage(engine), new URL(cluster.registryUrl).host, "busybox");
    await eventually(
      async () => (await hosts()).filter(({ capabilities }) => capabilities.includes("docker")).length === 2,
      { deadlineMs: 30_000 },
    );
    // Nothing is brought there before the last test, however slow this machine is.
    await cluster.api.hosts.cordonHost({ name: "hosts/n1" });
    const common = { image: "busybox", limits: { cpuMillis: 200 }, recovery: "RECOVERY_RESTART" } as const;
    const counter = {
      ...{ ...common, command: ["sh", "-c", counts], volumes: [{ volume: "data", path: "/data" }] },
      ...({ recoveryPoint: { seconds: 60 }, restart: { mode: "MODE_ALWAYS" } } as const),
    };
    const plain = { ...common, command: ["sleep", "1000"], checkpointType: "CHECKPOINT_TYPE_DISABLED" as const };
    for (const [containerId, spec] of [
      ["db", counter],
      ["web", plain],
    ] as const) {
      await carryThrough(cluster, (requestId) =>
        cluster.api.containers.createContainer({
          ...{ parent, containerId, spec: ContainerSpec.fromPartial(spec), start: true, requestId },
        }),
      );
    }
  }, 240_000);
  afterAll(() => stack.disposeAsync(), 60_000);

  const nameOf = (container: string) => `${parent}/containers/${container}`;
  const hosts = async () => (await untilAnswered(() => cluster.api.hosts.listHosts({}))).hosts;
  const get = (container = "db") =>
    untilAnswered(() => cluster.api.containers.getContainer({ name: nameOf(container) }));
  const nameIn = (host: string, uid: string) => (host === "n1" ? uid : nameInShared(uid));
  const inspect = async (host: string, container = "db") => {
    const { uid } = await get(container);
    return engine.docker.getContainer(nameIn(host, uid)).inspect();
  };
  const fileOf = async (host: string) => {
    const { Mounts } = await inspect(host);
    return join(Mounts.find(({ Destination }) => Destination === "/data")?.Source ?? "", "n");
  };
  const countOn = async (host: string) => Number((await readFile(await fileOf(host), "utf8")).trim());
  const goesOn = async (host: string) => {
    const before = await countOn(host);
    await eventually(async () => (await countOn(host)) > before, { deadlineMs: 20_000 });
  };
  /** The file may be about to be written. */
  const guardPid = () => eventually(async () => Number(await readFile(join(data, "fence.pid"), "utf8")) || false);
  const events = async (word: string) => {
    const seen: Record<string, unknown>[] = [];
    for await (const { type, data } of cluster.api.events.watchEvents({ filter: "evt.container.v1.*.default.>" })) {
      if (type.endsWith(`.${word}`)) seen.push(data ?? {});
    }
    return seen;
  };
  /** On the host, whatever its agent and the engine say of it. */
  const groupOn = async (host: string, container = "db") => {
    const seen = await inspect(host, container).catch(() => undefined);
    return seen === undefined ? undefined : findGroup(seen.Id);
  };
  const isHeld = async (host: string) => {
    const group = await groupOn(host);
    return group !== undefined && hasProcesses(group) && isFrozen(group);
  };
  const expectStill = async (host: string) => {
    const file = await fileOf(host);
    const before = await stat(file);
    await delay(300); // several of its steps
    expect((await stat(file)).mtimeMs).toBe(before.mtimeMs);
  };
  /** Agents first: while one lives it has a guard. */
  const endAll = async () => {
    const uids = await Promise.all(["db", "web"].map(async (container) => (await get(container)).uid));
    for (const one of [agent, cluster.services.agent]) {
      one.hold();
      one.kill("SIGKILL");
      await eventually(() => !one.isAlive);
    }
    for (const folder of [data, cluster.agentData]) await stopGuard(folder);
    for (const uid of uids) for (const host of ["n1", "n2"]) await endContainer(engine.docker, nameIn(host, uid));
  };

  test("a point of it is taken and pushed", async () => {
    const { recoveryPoint } = await eventually(
      async () => ((await get()).recoveryPoint?.reference ? await get() : false),
      { deadlineMs: 60_000 },
    );
    expect(recoveryPoint?.reference).toMatch(/^recovery\/default\/containers\/db@sha256:/);
  }, 90_000);

  test("its restart policy holds, and is not left to the engine, which would start it without a lease", async () => {
    const before = await inspect("n2");
    expect(before.HostConfig.RestartPolicy?.Name).toBe("no");
    expect(before.State.Pid).toBeGreaterThan(0);
    process.kill(before.State.Pid, "SIGKILL");
    await eventually(async () => (await get()).restarts === 1 && (await get()).state === "CONTAINER_STATE_RUNNING", {
      deadlineMs: 15_000,
    });
    expect((await inspect("n2")).State.Pid).not.toBe(before.State.Pid);
    await goesOn("n2");
  });

  test("cut off from NATS it stands still from its deadline on, and goes on afterwards where it is", async () => {
    const { State } = await inspect("n2");
    proxy.fault = { kind: "swallow", what: "both" };
    run().fault("partition", "n2 from NATS");
    await eventually(() => isHeld("n2"), { deadlineMs: 10_000, everyMs: 50 });
    await expectStill("n2");
    // Whoever asks the engine to let it go on: the guard is under it.
    const id = nameIn("n2", (await get()).uid);
    const inEngine = engine.docker.getContainer(id);
    for (const asked of ["pause", "unpause"] as const) await inEngine[asked]().catch(() => undefined);
    await eventually(() => isHeld("n2"));
    await expectStill("n2");
    proxy.fault = { kind: "reset" };
    proxy.fault = { kind: "none" };
    await goesOn("n2");
    expect((await inspect("n2")).State.Pid).toBe(State.Pid);
    const goneOn = async () => {
      const { state, stateReason } = await get();
      expect(state).toBe("CONTAINER_STATE_RUNNING");
      expect(stateReason).not.toContain("control plane");
      return (await events("lease_resumed")).length > 0;
    };
    await eventually(goneOn, { deadlineMs: 20_000 });
    expect((await events("lease_paused")).length).toBeGreaterThan(0);
  }, 60_000);

  test("no end of guard or agent leaves it unguarded", async () => {
    const first = await guardPid();
    process.kill(first, "SIGKILL");
    run().fault("kill", "guard");
    const second = await eventually(async () => ((await guardPid()) !== first ? guardPid() : false));
    await goesOn("n2");
    // Both at once: it stands still, and the next agent has it held until it hears that it may go on.
    agent.hold();
    agent.kill("SIGKILL");
    process.kill(second, "SIGKILL");
    run().fault("kill", "guard and agent");
    await eventually(() => isHeld("n2"));
    await expectStill("n2");
    agent.release();
    await eventually(async () => (await guardPid()) !== second && !(await isGone(await guardPid())), {
      deadlineMs: 20_000,
    });
    await goesOn("n2");
  }, 60_000);

  test("a host that is down: each container starts elsewhere once, from its point or its image, and is ended where it was", async () => {
    await cluster.api.hosts.uncordonHost({ name: "hosts/n1" });
    const { uid, recoveryPoint } = await get();
    const late = await countOn("n2");
    const runsOn = async (host: string) => runsIn(await groupOn(host));
    const watched = new AbortController();
    const watching = (async () => {
      let most = 0;
      for (; !watched.signal.aborted; await delay(100)) {
        most = Math.max(most, [await runsOn("n1"), await runsOn("n2")].filter(Boolean).length);
      }
      return most;
    })();
    agent.hold();
    agent.kill("SIGKILL");
    run().fault("kill", "agent, until its host is down");
    await eventually(() => isHeld("n2"), { deadlineMs: 10_000, everyMs: 50 });
    const isBack = async (container: string) => {
      const { host, state, stateReason, operation } = await get(container);
      expect([host, state, stateReason, operation]).toEqual(["hosts/n1", "CONTAINER_STATE_RUNNING", "", ""]);
      return true;
    };
    for (const one of ["db", "web"]) await eventually(() => isBack(one), { deadlineMs: 40_000, everyMs: 200 });
    await goesOn("n1");
    await expectStill("n2");
    // It does not wait there for a word, so that its host is not told that it has left, as of the other.
    await endGroup((await groupOn("n2", "web")) ?? expect.fail("web is not on n2"));
    const told = await eventually(async () => {
      const both = await events("recovered");
      return both.length === 2 && both;
    });
    const ofDb = told.find((it) => it.uid === uid);
    expect(ofDb).toMatchObject({
      ...{ from: "hosts/n2", to: "hosts/n1", checkpoint: recoveryPoint?.checkpoint },
      ...{ pointTime: recoveryPoint?.time?.toISOString(), ageSeconds: expect.any(Number) as number },
    });
    const ofWeb = told.find((it) => it.uid !== uid);
    expect(ofWeb).toMatchObject({ lost: expect.stringContaining("without a recovery point") as string });
    expect(ofWeb).not.toHaveProperty("pointTime");
    expect(late).toBeGreaterThan(0);
    agent.release();
    await eventually(async () => !(await inspect("n2")).State.Running, { deadlineMs: 30_000 });
    expect(await countOn("n2")).toBeGreaterThanOrEqual(late); // its files stay
    await eventually(async () => (await hosts()).every(({ state }) => state === "HOST_STATE_READY"));
    await isBack("db");
    await expectNoLateStart(cluster, { host: "hosts/n2", uid: (await get("web")).uid }, "startContainer");
    expect((await inspect("n2", "web")).State.Running).toBe(false);
    watched.abort();
    expect(await watching).toBe(1);
  }, 120_000);
});
