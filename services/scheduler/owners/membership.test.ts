import { expect, test } from "vitest";
import { SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import { type Clock, systemClock, systemRandom } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { createMemoryLog, createRecordStore, type Log, RecordView } from "#libs/records";
import { Membership } from "./membership.ts";

const ttlMs = 6_000;
const hosts = Array.from({ length: 40 }, (_, index) => `hosts/h-${index}`);

/** What goes wrong, now and then. */
interface Faults {
  knowsHosts: () => Promise<void>;
  /** Of a write of which nothing is heard: whether it is applied. */
  append: "applied" | "lost" | undefined;
  /** Before a message is passed on. */
  hears: () => Promise<void>;
}

function faultyLog(log: Log, faults: Faults): Log {
  return {
    read: (subject) => log.read(subject),
    newest: (filter) => log.newest(filter),
    lastSequence: () => log.lastSequence(),
    async append(subject, data, options) {
      if (faults.append !== "lost") {
        const sequence = await log.append(subject, data, options);
        if (faults.append === undefined) return sequence;
      }
      throw new StillpointError("OUTCOME_UNKNOWN", "no answer");
    },
    async *follow(filter, options) {
      for await (const message of log.follow(filter, options)) {
        await faults.hears();
        yield message;
      }
    },
  };
}

/** Replicas over one log, each with a clock of its own. */
async function startReplicas() {
  const ending = new AbortController();
  const { signal } = ending;
  const faults: Faults = { knowsHosts: async () => undefined, append: undefined, hears: async () => undefined };
  const log = faultyLog(createMemoryLog(systemClock), faults);
  const replicas: Membership[] = [];
  const start = async (address = `127.0.0.1:${replicas.length}`) => {
    const time = { nowMs: 1_000_000 * replicas.length };
    const clock: Clock = { ...systemClock, monotonicMs: () => time.nowMs };
    const kept = { log, codec: SchedulerReplica, clock: systemClock, random: systemRandom };
    const store = createRecordStore({ ...kept, patienceMs: 0 });
    const view = await RecordView.start({ log, filter: "rec.schedulers.*", codec: SchedulerReplica, signal });
    const deps = { store, view, knowsHostsAt: () => faults.knowsHosts(), clock, random: systemRandom, signal };
    const membership = new Membership({ ...deps, logger: silentLogger, address: () => address, ttlMs });
    replicas.push(membership);
    await membership.tick();
    await membership.isJoined();
    const pass = async (ms: number, { sleeps = false } = {}) => {
      for (const endMs = time.nowMs + ms; time.nowMs < endMs; ) {
        time.nowMs = Math.min(endMs, time.nowMs + 2_000);
        if (!sleeps) await membership.tick();
        // The view hears of it.
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { membership, pass };
  };
  const ownersOf = (host: string) => replicas.filter((replica) => replica.ownedSinceMs(host) !== undefined);
  return { faults, start, ownersOf, [Symbol.asyncDispose]: async () => ending.abort() };
}

const countOf = (membership: Membership) => hosts.filter((host) => membership.ownedSinceMs(host) !== undefined).length;

test("one replica owns everything; a second one gets its share; who ends leaves his to the other at once", async () => {
  await using cluster = await startReplicas();
  const one = await cluster.start();
  expect(countOf(one.membership)).toBe(hosts.length);
  const before = one.membership.epoch;
  const two = await cluster.start();
  await expect.poll(() => countOf(one.membership) + countOf(two.membership)).toBe(hosts.length);
  expect(countOf(two.membership)).toBeGreaterThan(5);
  for (const host of hosts) expect(cluster.ownersOf(host)).toHaveLength(1);
  expect(two.membership.epoch).toBeGreaterThan(before);
  await two.membership.close();
  await expect.poll(() => countOf(one.membership)).toBe(hosts.length);
  expect(countOf(two.membership)).toBe(0);
  expect(one.membership.epoch).toBeGreaterThan(two.membership.epoch - 1);
});

test("a replica that sleeps owns nothing when it wakes, and has been taken out; it comes back under a new name", async () => {
  await using cluster = await startReplicas();
  const one = await cluster.start();
  const two = await cluster.start();
  const { name, epoch } = two.membership;
  await one.pass(4_000);
  expect(countOf(one.membership)).toBeLessThan(hosts.length);
  await two.pass(ttlMs, { sleeps: true });
  expect(countOf(two.membership)).toBe(0);
  await one.pass(8_000);
  await expect.poll(() => countOf(one.membership)).toBe(hosts.length);
  await two.pass(4_000);
  await expect.poll(() => countOf(two.membership)).toBeGreaterThan(5);
  expect(two.membership.name).not.toBe(name);
  expect(two.membership.epoch).toBeGreaterThan(epoch);
});

test("renewals change nothing, and it is known since when a host is owned", async () => {
  await using cluster = await startReplicas();
  const one = await cluster.start();
  const { epoch } = one.membership;
  const since = one.membership.ownedSinceMs("hosts/h-1");
  await one.pass(20_000);
  await expect.poll(() => one.membership.confirmedMs).toBeGreaterThanOrEqual(16_000);
  expect(one.membership.epoch).toBe(epoch);
  expect(one.membership.ownedSinceMs("hosts/h-1")).toBe(since);
});

test("a process takes over at once from the one that listened where it does", async () => {
  await using cluster = await startReplicas();
  await cluster.start("127.0.0.1:7072");
  const two = await cluster.start("127.0.0.1:7072");
  await expect.poll(() => countOf(two.membership)).toBe(hosts.length);
});

test("a host changes hands only when all is known of it that was written before, though that takes several tries", async () => {
  await using cluster = await startReplicas();
  const one = await cluster.start();
  const two = await cluster.start();
  let tries = 0;
  cluster.faults.knowsHosts = async () => {
    tries++;
    throw new StillpointError("UNAVAILABLE", "the log is away");
  };
  await two.membership.close();
  await expect.poll(() => tries).toBeGreaterThan(2);
  expect(countOf(one.membership)).toBeLessThan(hosts.length);
  cluster.faults.knowsHosts = async () => undefined;
  await expect.poll(() => countOf(one.membership)).toBe(hosts.length);
});

test("a renewal that is sent again since its answer was lost counts from when it was sent first", async () => {
  await using cluster = await startReplicas();
  const { membership, pass } = await cluster.start();
  const heard = Promise.withResolvers<void>();
  cluster.faults.hears = () => heard.promise;
  for (const append of ["applied", "lost"] as const) {
    cluster.faults.append = append;
    await expect(pass(2_000)).rejects.toThrow("no answer");
  }
  expect(membership.confirmedMs).toBe(0);
  heard.resolve();
  await expect.poll(() => membership.confirmedMs).toBe(2_000);
});
