import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { systemClock, systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { silentLogger } from "#libs/logger";
import { connectNats, createRecordStore, openStreams, rawCodec, type Streams } from "#libs/records";
import { eventually, startNats, startRedis, type TestServer } from "#libs/testing";
import { JetStreamJobQueue, type Job, type JobContext, openOperations, startRunner } from "./index.ts";
import type { Operations } from "./operations.ts";

const never = new AbortController().signal;
const ttlMs = 1_000;
const lifecycle = new Lifecycle();
let natsServer: TestServer;
let redisServer: TestServer;
let nats: Awaited<ReturnType<typeof connectNats>>;
let redis: Redis;
let streams: Streams;

beforeAll(async () => {
  [natsServer, redisServer] = await Promise.all([startNats({ syncAlways: true }), startRedis()]);
  nats = await connectNats({ NATS_URL: natsServer.url }, lifecycle);
  redis = await connectRedis({ REDIS_URL: redisServer.url }, lifecycle);
  streams = await openStreams(nats);
});

afterAll(async () => {
  await lifecycle.close();
  await Promise.all([natsServer[Symbol.asyncDispose](), redisServer[Symbol.asyncDispose]()]);
});

const open = () => openOperations({ nats, redis, streams, logger: silentLogger, signal: lifecycle.signal });

async function ended(operations: Operations, name: string) {
  let last: Awaited<ReturnType<Operations["get"]>>;
  for await (const operation of operations.watch(name.slice("operations/".length), never)) last = operation;
  return last;
}

/** A job of three steps on a target; the middle one waits until it is let go. */
function slowJob(kind: string) {
  const reached = Promise.withResolvers<JobContext>();
  const letGo = Promise.withResolvers<void>();
  const done: string[] = [];
  const step = (name: string) => ({ name, run: async () => void done.push(name) });
  const middle = {
    name: "middle",
    run: async (context: JobContext) => {
      context.progress({ percent: 50, message: "half way" });
      reached.resolve(context);
      await letGo.promise;
      done.push("middle");
      return { middle: context.epoch };
    },
  };
  const vms = createRecordStore({ log: streams.rec, codec: rawCodec, clock: systemClock, random: systemRandom });
  const job: Job = {
    kind,
    steps: [step("first"), middle, step("last")],
    conclude: async ({ target, operationId, outputs }) => {
      await vms.modify(target, (stored) => (stored.operation === operationId ? { operation: null } : undefined));
      return { ...outputs.middle };
    },
  };
  return { job, reached: reached.promise, letGo: letGo.resolve, done, vms };
}

const ask = (kind: string, target: string) => ({ kind, target, input: {}, principal: "local", project: "default" });
const create = { create: { uid: "vm-1", body: {} } };

describe("an operation on real servers", () => {
  test("shows its progress while it runs, and frees its target", async () => {
    const { job, reached, letGo, done, vms } = slowJob("slow1.run");
    const operations = await open();
    const runner = startRunner(operations, { jobs: [job], ttlMs });
    const target = "projects/default/vms/slow1";
    const { name } = await operations.accept(ask(job.kind, target), create);
    const { epoch } = await reached;
    const id = name.slice("operations/".length);
    await eventually(async () => (await operations.get(id))?.progress?.percent === 50);
    letGo();
    expect(await ended(operations, name)).toMatchObject({ state: OperationState.SUCCEEDED, output: { middle: epoch } });
    expect(done).toEqual(["first", "middle", "last"]);
    expect((await vms.get(target))?.operation).toBeUndefined();
    await runner.close();
  });

  test("ends as it should although Redis forgets everything, and then is away", async () => {
    const { job, reached, letGo, done } = slowJob("slow2.run");
    const operations = await open();
    const runner = startRunner(operations, { jobs: [job], ttlMs });
    const rival = startRunner(await open(), { jobs: [job], ttlMs });
    const { name } = await operations.accept(ask(job.kind, "projects/default/vms/slow2"), create);
    await reached;
    await redis.flushall();
    await redisServer.stop("SIGKILL");
    // Several ttls without heartbeats in Redis: nobody may believe that the worker is dead.
    await systemClock.sleep(3 * ttlMs);
    letGo();
    expect((await ended(operations, name))?.state).toBe(OperationState.SUCCEEDED);
    expect(done).toEqual(["first", "middle", "last"]);
    await redisServer.start();
    await Promise.all([runner.close(), rival.close()]);
  });

  test("ends as it should although NATS crashes in the middle, with all hints", async () => {
    const { job, reached, letGo, done } = slowJob("slow3.run");
    const operations = await open();
    const runner = startRunner(operations, { jobs: [job], ttlMs });
    const { name } = await operations.accept(ask(job.kind, "projects/default/vms/slow3"), create);
    await reached;
    await natsServer.stop("SIGKILL");
    letGo();
    await natsServer.start();
    expect((await ended(operations, name))?.state).toBe(OperationState.SUCCEEDED);
    expect(done).toEqual(["first", "middle", "last"]);
    const next = await operations.accept(ask(job.kind, "projects/default/vms/slow3b"), create);
    expect((await ended(operations, next.name))?.state).toBe(OperationState.SUCCEEDED);
    await runner.close();
  });

  test("whose hint was lost is found by the sweeper", async () => {
    const operations = await open();
    const { name } = await operations.accept({ ...ask("lost4.run", ""), target: "" });
    const manager = await JetStreamJobQueue.open(nats);
    const stop = new AbortController();
    for await (const hint of manager.take("lost4", { atMost: 1, signal: stop.signal })) {
      await hint.finish();
      stop.abort();
    }
    const runner = startRunner(operations, { jobs: [{ kind: "lost4.run", steps: [] }], ttlMs });
    expect((await ended(operations, name))?.state).toBe(OperationState.SUCCEEDED);
    await runner.close();
  });
});
