import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import { Ledger, type PlaceRequest, SchedulerDefinition, SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError } from "#libs/errors";
import { decodeRecord, openNats, openStreams } from "#libs/records";
import { createRpcClient } from "#libs/rpc";
import { eventually, freePort, startNats, startRedis, temporaryFolder } from "#libs/testing";
import { repository } from "../harness/command.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";
import { faultRuns } from "./fault-run.ts";
import { countOf } from "./matrix.ts";

const hosts = Array.from({ length: 24 }, (_, index) => `hosts/h-${index}`);
const cpusPerHost = 16;
const ttlMs = 1_500;
const beatMs = 500;

async function startReplicas() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const server = stack.use(await startNats());
  const redis = stack.use(await startRedis());
  const nats = await openNats({ url: server.url });
  stack.defer(() => nats.close());
  const replicas = await Promise.all(
    ["a", "b", "c"].map(async (id) => {
      const address = `127.0.0.1:${await freePort()}`;
      const env = {
        ...{ NATS_URL: server.url, REDIS_URL: redis.url, STILLPOINT_ADDRESS: address, SCHEDULER_ADDRESS: address },
        ...{ LOG_LEVEL: "info", CPU_OVERCOMMIT: "1", HOST_MEMORY_RESERVED_MIB: "0" },
        ...{ SCHEDULER_TTL_MS: `${ttlMs}`, HOST_DOWN_AFTER_SECONDS: "6" },
      };
      const script = join(repository, "services/scheduler/main.ts");
      const run = stack.use(SupervisedProcess.start(script, env, join(folder, `${id}.log`)));
      const client = createRpcClient(SchedulerDefinition, address, { timeoutMs: 2_500 });
      stack.defer(() => client.close());
      return { address, run, client };
    }),
  );
  const { rec } = await openStreams(nats);
  const owned = stack.move();
  return { nats, rec, replicas, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

type Cluster = Awaited<ReturnType<typeof startReplicas>>;

/** Agents that do nothing but speak: what they are answered, and how long they were not. */
function startHosts(
  nats: NatsConnection,
): Disposable & { readonly epochs: Map<string, number>; gaps(): number[]; silences(): number[] } {
  const epochs = new Map<string, number>();
  const heard = new Map(hosts.map((host) => [host, { atMs: performance.now(), gapMs: 0 }]));
  const inbox = createInbox();
  const answers = nats.subscribe(`${inbox}.*`, {
    callback: (_error, message) => {
      // The server says that nobody listens.
      if (message.data.length === 0) return;
      const host = `hosts/${message.subject.slice(inbox.length + 1)}`;
      const { epoch } = HeartbeatAck.fromJSON(message.json());
      epochs.set(host, Math.max(epochs.get(host) ?? 0, epoch));
      const before = heard.get(host);
      const atMs = performance.now();
      if (before !== undefined) heard.set(host, { atMs, gapMs: Math.max(before.gapMs, atMs - before.atMs) });
    },
  });
  let sequence = 0;
  const timer = setInterval(() => {
    sequence++;
    for (const host of hosts) {
      const id = host.slice("hosts/".length);
      const beat = Heartbeat.fromPartial({
        ...{
          host,
          hostUid: `host-${id}`,
          bootId: `boot-${id}`,
          sequence,
          agentAddress: "127.0.0.1:1",
          agentVersion: "1",
        },
        ...{ cpus: cpusPerHost, memoryBytes: 2 ** 36, diskBytes: 2 ** 40, capabilities: ["qemu"], time: new Date() },
      });
      nats.publish(`hb.host.v1.${id}`, JSON.stringify(Heartbeat.toJSON(beat)), { reply: `${inbox}.${id}` });
    }
  }, beatMs);
  return {
    epochs,
    silences: () => [...heard.values()].map(({ atMs }) => performance.now() - atMs),
    gaps: () => [...heard.values()].map(({ gapMs, atMs }) => Math.max(gapMs, performance.now() - atMs)),
    [Symbol.dispose]() {
      clearInterval(timer);
      answers.unsubscribe();
    },
  };
}

/** Asks any replica, and another one when it does not answer; counts how often. */
async function askAny<Answer>(
  { replicas }: Cluster,
  counts: { retried: number },
  call: (client: Cluster["replicas"][number]["client"]) => Promise<Answer>,
): Promise<Answer> {
  for (const end = performance.now() + 60_000; performance.now() < end; counts.retried++) {
    const replica = replicas[Math.floor(Math.random() * replicas.length)];
    const answer = replica && (await call(replica.client).then((value) => ({ value }), unlessAway));
    if (answer !== undefined) return answer.value;
    await sleep(50);
  }
  throw new Error("no replica answered for a minute");
}

function unlessAway(error: unknown): undefined {
  const away = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"];
  if (!isStillpointError(error) || !away.includes(error.reason)) throw error;
}

/** Clients that place and release. `held`: what they were told, of what they have not asked to be released. */
function startClients(cluster: Cluster, count: number) {
  const held = new Map<string, string>();
  const counts = { placed: 0, released: 0, refused: 0, retried: 0 };
  let wanted = true;
  let last = 0;
  const place = async () => {
    const requests = Array.from({ length: 8 }, () => wish(last++));
    const { results } = await askAny(cluster, counts, (scheduler) => scheduler.placeBatch({ requests }));
    for (const [index, { result }] of results.entries()) {
      if (result?.$case === "placed") held.set(requests[index]?.uid ?? "", result.value.host);
      counts[result?.$case === "placed" ? "placed" : "refused"]++;
    }
  };
  const release = async (uid: string) => {
    held.delete(uid);
    await askAny(cluster, counts, (scheduler) => scheduler.release({ uid, host: "" }));
    counts.released++;
  };
  const client = async () => {
    while (wanted) {
      await place();
      for (const uid of [...held.keys()].filter(() => Math.random() < 0.02)) await release(uid);
    }
  };
  const all = Promise.all(Array.from({ length: count }, client));
  // A test that fails before its end says why.
  all.catch(() => undefined);
  return {
    held,
    counts,
    async end() {
      wanted = false;
      await all;
    },
  };
}

function wish(index: number): PlaceRequest {
  const uid = `vm-${index}`;
  const needs = { cpuMillis: 0, memoryBytes: 2 ** 30, diskBytes: 2 ** 30, hostPorts: [], hostSelector: {} };
  const requirements = { ...needs, cpus: 1 + (index % 3), capabilities: ["qemu"], host: "", notHost: "", notHosts: [] };
  return { workload: `projects/default/vms/${uid}`, uid, operation: `operations/op-${uid}`, epoch: 0, requirements };
}

const run = faultRuns();

test("F4 F9: replicas that are killed and put to sleep never over-commit a host, nor lose a placement that was told", async () => {
  await using cluster = await startReplicas();
  const { replicas, nats } = cluster;
  using agents = startHosts(nats);
  await eventually(() => agents.epochs.size === hosts.length, { deadlineMs: 30_000 });
  const clients = startClients(cluster, 4);
  for (let round = 0; round < countOf("schedulers"); round++) {
    const replica = replicas[round % replicas.length] ?? replicas[0];
    if (replica === undefined) throw new Error("there are no replicas");
    await sleep(500);
    if (round % 2 === 0) {
      run().fault("kill", replica.address);
      replica.run.kill("SIGKILL");
      await sleep(ttlMs);
      continue;
    }
    const record = await ownRecord(cluster, replica.address);
    const before = { ...clients.counts };
    replica.run.kill("SIGSTOP");
    run().fault("pause", replica.address);
    await run().recovers("it is taken out", async () => (await stateOf(cluster, record)) === "out");
    await run().recovers("others place", () => clients.counts.placed > before.placed + 10);
    const [version] = await versionsOf(cluster, record);
    replica.run.kill("SIGCONT");
    await eventually(async () => (await ownRecord(cluster, replica.address)) !== record, { deadlineMs: 20_000 });
    // It has not written again what it was.
    expect(await versionsOf(cluster, record)).toEqual([version]);
  }
  await clients.end();
  const longestMs = Math.max(...agents.gaps());
  // Whoever they belong to now, each is answered.
  await eventually(() => agents.silences().every((ms) => ms < 3 * beatMs), { deadlineMs: 20_000 });
  await expectNothingOverCommitted(cluster);
  await expectAllHeld(cluster, clients.held);
  run().note(`${JSON.stringify(clients.counts)}, longest silence ${longestMs.toFixed(0)} ms`);
  run().recovered("hosts are answered", longestMs);
  expect(clients.counts.placed).toBeGreaterThan(200);
}, 3_600_000);

/** schedulers/<replica> that has an address now. */
async function ownRecord({ rec }: Cluster, address: string): Promise<string> {
  for (const { data } of await rec.newest("rec.schedulers.*")) {
    const { name, body, deleted } = decodeRecord(data);
    if (deleted !== true && SchedulerReplica.fromJSON(body).address === address) return name;
  }
  return "";
}

async function stateOf({ rec }: Cluster, record: string): Promise<"in" | "out"> {
  const message = await rec.read(`rec.${record.replace("/", ".")}`);
  return message === undefined || decodeRecord(message.data).deleted === true ? "out" : "in";
}

async function versionsOf({ rec }: Cluster, record: string): Promise<number[]> {
  return (await rec.sequencesOf(`rec.${record.replace("/", ".")}`)).slice(-1);
}

/** In any state that a ledger ever had, of those that the log keeps. */
async function expectNothingOverCommitted({ rec }: Cluster): Promise<void> {
  const ending = new AbortController();
  let states = 0;
  for await (const { data, pending } of rec.follow("rec.hosts.*.ledger", { afterSequence: 0, signal: ending.signal })) {
    const { reservations } = Ledger.fromJSON(decodeRecord(data).body);
    const cpuMillis = reservations.reduce((sum, { requirements }) => sum + (requirements?.cpuMillis ?? 0), 0);
    expect(cpuMillis).toBeLessThanOrEqual(cpusPerHost * 1_000);
    expect(new Set(reservations.map(({ uid }) => uid)).size).toBe(reservations.length);
    states++;
    if (pending === 0) ending.abort();
  }
  expect(states).toBeGreaterThan(hosts.length);
}

/** Each placement that a client was told of is on the ledger of that host, and on no other. */
async function expectAllHeld({ rec }: Cluster, held: ReadonlyMap<string, string>): Promise<void> {
  const holders = new Map<string, string[]>();
  for (const { data } of await rec.newest("rec.hosts.*.ledger")) {
    const { name, reservations } = Ledger.fromJSON(decodeRecord(data).body);
    for (const { uid } of reservations) holders.set(uid, [...(holders.get(uid) ?? []), name.replace("/ledger", "")]);
  }
  for (const [uid, host] of held) expect({ uid, hosts: holders.get(uid) }).toEqual({ uid, hosts: [host] });
}
