import { expect, test } from "vitest";
import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { HostState, HostsDefinition, type Requirements, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { Vm, VmState, VmsDefinition, type VmsServiceImplementation } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { silentLogger } from "#libs/logger";
import { parseOperationName } from "#libs/names";
import { openOperations } from "#libs/operations";
import { connectNats, decodeRecord, openStreams } from "#libs/records";
import { type CallScope, createRpcClient, RpcServer } from "#libs/rpc";
import { eventually, freePort, partialService, startNats, startRedis } from "#libs/testing";
import { readSchedulerConfig } from "./config.ts";
import { startScheduler } from "./service.ts";
import { gib, heartbeat, requirements } from "./testing/hosts.ts";

async function startCluster() {
  const stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const redis = stack.use(await startRedis());
  const lifecycle = new Lifecycle();
  stack.defer(() => lifecycle.close());
  const address = `127.0.0.1:${await freePort()}`;
  const env = { NATS_URL: nats.url, REDIS_URL: redis.url, LOG_LEVEL: "silent", STILLPOINT_ADDRESS: address };
  const config = readSchedulerConfig({
    ...env,
    HOST_DOWN_AFTER_SECONDS: "1",
    RECONCILE_SECONDS: "1",
    SCHEDULER_TTL_MS: "500",
  });
  const vm: { now?: Partial<Vm> } = {};
  const getVm = async () => Vm.fromPartial(vm.now ?? {});
  const server = new RpcServer({ logger: silentLogger })
    .add(OperationsDefinition, noOperations())
    .add(VmsDefinition, partialService<VmsServiceImplementation<CallScope>>(VmsDefinition, { getVm }));
  await startScheduler(config, lifecycle, { server });
  lifecycle.add("grpc", server, (it) => it.close());
  await server.listen(address);
  const connection = await connectNats(env, lifecycle);
  const scheduler = createRpcClient(SchedulerDefinition, address);
  const hosts = createRpcClient(HostsDefinition, address);
  lifecycle.add("clients", { scheduler, hosts }, (clients) => {
    clients.scheduler.close();
    clients.hosts.close();
  });
  const streams = await openStreams(connection);
  const { rec } = streams;
  const { signal } = lifecycle;
  const redisClient = await connectRedis(env, lifecycle);
  const openOps = { nats: connection, redis: redisClient, streams, logger: silentLogger, signal };
  return {
    operations: await openOperations(openOps),
    ...{ scheduler, hosts, vm },
    ask: async (beat: Heartbeat) => {
      const data = JSON.stringify(Heartbeat.toJSON(beat));
      return HeartbeatAck.fromJSON((await connection.request(`hb.host.v1.${beat.host.split("/")[1]}`, data)).json());
    },
    beat: (beat: Heartbeat) =>
      connection.publish(`hb.host.v1.${beat.host.split("/")[1]}`, JSON.stringify(Heartbeat.toJSON(beat))),
    lastEvents: async (name: string) => {
      const message = await rec.read(`rec.${name.replaceAll("/", ".")}`);
      return message === undefined ? [] : decodeRecord(message.data).events.map(({ happened }) => happened);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Every operation is long forgotten. */
function noOperations(): OperationsServiceImplementation<CallScope> {
  return partialService<OperationsServiceImplementation<CallScope>>(OperationsDefinition, {
    async getOperation({ name }) {
      throw new StillpointError("OPERATION_NOT_FOUND", `${name} was not found`);
    },
  });
}

type Cluster = Awaited<ReturnType<typeof startCluster>>;

const isIn = (cluster: Cluster, name: string, state: HostState) =>
  eventually(async () => {
    const { hosts } = await cluster.hosts.listHosts({});
    return hosts.find((host) => host.name === name && host.state === state);
  });

const place = ({ scheduler }: Cluster, uid: string, differs: Parameters<typeof requirements>[0] = {}) => {
  const { hostPorts, hostSelector, capabilities, notHosts: _none, ...amounts } = requirements(differs);
  return scheduler.place({
    workload: `projects/default/vms/${uid}`,
    uid,
    operation: `operations/op-${uid}`,
    requirements: { ...amounts, hostPorts: [...hostPorts], hostSelector, capabilities: [...capabilities] },
  });
};

test("heartbeats make hosts; what is placed shows as used; a cordoned host takes nothing new", async () => {
  await using cluster = await startCluster();
  cluster.beat(heartbeat("a", { labels: { zone: "z1" } }));
  expect(await isIn(cluster, "hosts/a", HostState.READY)).toMatchObject({ labels: { zone: "z1" } });
  expect(await place(cluster, "vm-1", { cpuMillis: 250, hostSelector: { zone: "z1" } })).toEqual({
    host: "hosts/a",
    agentAddress: "unix:/run/a.sock",
  });
  const host = await cluster.hosts.getHost({ name: "hosts/a" });
  expect(host).toMatchObject({ used: { cpus: 1, cpuMillis: 250, memoryBytes: gib }, reservations: [{ uid: "vm-1" }] });
  expect(host.heartbeatTime).toBeInstanceOf(Date);
  expect((await cluster.hosts.cordonHost({ name: "hosts/a" })).state).toBe(HostState.CORDONED);
  await expect(place(cluster, "vm-2")).rejects.toMatchObject({
    reason: "NO_HOST_FITS",
    message:
      "no host fits projects/default/vms/vm-2: hosts/a: state: is cordoned; " +
      "nearest: hosts/a would take it if it were uncordoned",
    metadata: { "hosts/a": "state: is cordoned" },
  });
  expect((await cluster.hosts.uncordonHost({ name: "hosts/a" })).state).toBe(HostState.READY);
  await expect(cluster.hosts.getHost({ name: "hosts/b" })).rejects.toMatchObject({ reason: "HOST_NOT_FOUND" });

  cluster.beat(heartbeat("b"));
  await isIn(cluster, "hosts/b", HostState.READY);
  const page = await cluster.hosts.listHosts({ pageSize: 1 });
  expect(page.hosts).toMatchObject([
    { name: "hosts/a", reservationCount: 1, reservations: [], used: { cpuMillis: 250 } },
  ]);
  const { hosts, nextPageToken } = await cluster.hosts.listHosts({ pageToken: page.nextPageToken });
  expect({ names: hosts.map(({ name }) => name), nextPageToken }).toEqual({ names: ["hosts/b"], nextPageToken: "" });
  const inFull = await cluster.hosts.listHosts({ withReservations: true });
  expect(inFull.hosts).toMatchObject([{ reservations: [{ uid: "vm-1" }] }, { reservations: [] }]);
});

test("VMs and containers take from one ledger, in thousandths of a CPU", async () => {
  await using cluster = await startCluster();
  cluster.beat(heartbeat("a", { capabilities: ["qemu", "docker"] }));
  await isIn(cluster, "hosts/a", HostState.READY);
  const asked = (kind: string, uid: string, needs: Partial<Requirements>) =>
    cluster.scheduler.place({
      workload: `projects/default/${kind}/${uid}`,
      uid,
      operation: `operations/op-${uid}`,
      requirements: needs,
    });
  await asked("vms", "vm-1", { cpus: 15, hostPorts: [8080] });
  await asked("containers", "ctr-1", { cpuMillis: 600, capabilities: ["docker"] });
  expect(await cluster.hosts.getHost({ name: "hosts/a" })).toMatchObject({
    used: { cpus: 16, cpuMillis: 15_600 },
    capacity: { cpus: 16, cpuMillis: 16_000 },
    reservations: [{ workload: "projects/default/vms/vm-1" }, { workload: "projects/default/containers/ctr-1" }],
  });
  await expect(asked("containers", "ctr-2", { cpuMillis: 500 })).rejects.toMatchObject({
    message: expect.stringContaining("cpu: needs 0.5 cpus, 0.4 cpus of 16 cpus free"),
  });
  await expect(asked("containers", "ctr-3", { hostPorts: [8080] })).rejects.toMatchObject({
    message: expect.stringContaining("port 8080 is taken by projects/default/vms/vm-1"),
  });
  const stranger = { workload: "projects/other/vms/vm-4", uid: "vm-4", operation: "operations/op-vm-4" };
  await expect(cluster.scheduler.place({ ...stranger, requirements: { hostPorts: [8080] } })).rejects.toMatchObject({
    message: expect.stringContaining("port 8080 is taken;"),
  });
});

test("a host that falls silent is down, with an event, until it is heard again", async () => {
  await using cluster = await startCluster();
  cluster.beat(heartbeat("a"));
  await isIn(cluster, "hosts/a", HostState.READY);
  await isIn(cluster, "hosts/a", HostState.DOWN);
  expect(await cluster.lastEvents("hosts/a")).toEqual(["down"]);
  const explained = await cluster.scheduler.explain({ requirements: { cpus: 1 } });
  expect(explained).toEqual({
    hosts: [{ host: "hosts/a", fits: false, rule: "state", detail: "is down" }],
    suggestion: "hosts/a would take it if its agent came back",
  });
  const [sequence, bootId] = [7, "boot-1"];
  const ack = await cluster.ask(heartbeat("a", { sequence, bootId }));
  expect(ack).toEqual({
    ...{ hostUid: "host-a", sequence, bootId, epoch: expect.any(Number), ttlMs: 666 },
    ...{ resumeUids: [], endUids: [] },
  });
  expect(await cluster.hosts.getHost({ name: "hosts/a" })).toMatchObject({ state: HostState.READY });
});

test("a reservation that nobody needs is given back by itself", async () => {
  await using cluster = await startCluster();
  cluster.beat(heartbeat("a"));
  await isIn(cluster, "hosts/a", HostState.READY);
  await place(cluster, "vm-1");
  await eventually(async () => (await cluster.hosts.getHost({ name: "hosts/a" })).reservations.length === 0);
});

test("what is wrong with a host is told, and nothing follows from it", async () => {
  await using cluster = await startCluster();
  let said = heartbeat("a");
  const beating = setInterval(() => cluster.beat(said), 100);
  using _ = { [Symbol.dispose]: () => clearInterval(beating) };
  const has = (...reasons: string[]) =>
    eventually(async () => {
      const host = await cluster.hosts.getHost({ name: "hosts/a" });
      return host.problems.map(({ reason }) => reason).join() === reasons.join() && host;
    });
  await isIn(cluster, "hosts/a", HostState.READY);
  await place(cluster, "vm-1", { memoryBytes: 8 * gib });
  said = heartbeat("a", { cpus: -4, memoryBytes: 2 ** 60, time: new Date(Date.now() - 7 * 3_600_000) });
  const odd = await has("clock.skewed", "inventory.nonsense");
  expect(odd).toMatchObject({ state: HostState.READY, total: { cpus: 4, memoryBytes: 17 * gib } });
  said = heartbeat("a", { memoryBytes: 4 * gib });
  const shrunk = await has("capacity.below_used");
  expect(shrunk).toMatchObject({ state: HostState.READY, reservations: [{ uid: "vm-1" }] });
  await expect(place(cluster, "vm-2")).rejects.toMatchObject({ reason: "NO_HOST_FITS" });
  await expect(cluster.hosts.updateHost({ name: "hosts/a", cpuOvercommit: 0.1 })).rejects.toMatchObject({
    reason: "ARGUMENT_INVALID",
  });
  said = heartbeat("a");
  await has();
  await expect(
    cluster.hosts.updateHost({ name: "hosts/a", reserved: { memoryBytes: 16 * gib } }),
  ).rejects.toMatchObject({ reason: "CAPACITY_IN_USE" });
  const other = heartbeat("a", { hostUid: "host-other", agentAddress: "unix:/run/other.sock" });
  const intruding = setInterval(() => cluster.beat(other), 100);
  const twice = await has("identity.twice").finally(() => clearInterval(intruding));
  expect(twice).toMatchObject({ uid: "host-a", agentAddress: "unix:/run/a.sock" });
  await has();
  await expect(cluster.hosts.createJoinToken({})).rejects.toMatchObject({ reason: "CERTIFICATE_AUTHORITY_MISSING" });
  await expect(cluster.hosts.forgetHost({ name: "hosts/a" })).rejects.toMatchObject({ reason: "HOST_NOT_DOWN" });
});

test("a drain that waits can be cancelled; the host stays cordoned until it is uncordoned", async () => {
  await using cluster = await startCluster();
  const { hosts, operations } = cluster;
  const beating = setInterval(() => cluster.beat(heartbeat("a")), 100);
  using _ = { [Symbol.dispose]: () => clearInterval(beating) };
  await isIn(cluster, "hosts/a", HostState.READY);
  const asked = { kind: "test.endless", target: "", input: {}, principal: "local", project: "" };
  const { name: holder } = await operations.accept({ ...asked, requestId: "1" });
  cluster.vm.now = { host: "hosts/a", state: VmState.RUNNING, operation: holder };
  await place(cluster, "vm-1");
  const drain = await hosts.drainHost({ name: "hosts/a" });
  await isIn(cluster, "hosts/a", HostState.DRAINING);
  await expect(place(cluster, "vm-2")).rejects.toMatchObject({ reason: "NO_HOST_FITS" });
  await expect(hosts.drainHost({ name: "hosts/a" })).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  await operations.cancel(parseOperationName(drain.name));
  const cancelled = await isIn(cluster, "hosts/a", HostState.CORDONED);
  expect(cancelled).toMatchObject({ cordoned: true, draining: false });
  expect(await cluster.lastEvents("hosts/a")).toEqual(["drain_cancelled"]);
  expect((await hosts.uncordonHost({ name: "hosts/a" })).state).toBe(HostState.READY);
});
