import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger } from "#libs/logger";
import { openNats, openStreams } from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { eventually, partialService, startNats, startRedis } from "#libs/testing";
import { type Fault, FaultProxy } from "../harness/fault-proxy.ts";
import { faultRuns } from "./fault-run.ts";
import { countOf } from "./matrix.ts";

const silences: readonly Fault[] = [
  { kind: "swallow", what: "both" },
  { kind: "swallow", what: "asked" },
  { kind: "swallow", what: "answered" },
];
const none: Fault = { kind: "none" };
const run = faultRuns();
const timeout = 3_600_000;

/** As often for each of the three peers as the matrix says of all together. */
const rounds = Math.ceil(countOf("silence") / 3);

async function tookMs(work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return performance.now() - begunMs;
}

test.concurrent("F11: the proxy delays, throttles, swallows one way, and resets", async () => {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  await once(server.listen(0, "127.0.0.1"), "listening");
  await using _server = { [Symbol.asyncDispose]: async () => void server.close() };
  const { port } = server.address() as { port: number };
  await using proxy = await FaultProxy.start({ port });
  const socket = connect(proxy.port, "127.0.0.1");
  socket.on("error", () => undefined);
  const echo = async (text: string) => {
    socket.write(text);
    for (let answer = ""; answer.length < text.length; )
      answer += String(((await once(socket, "data")) as [Buffer])[0]);
  };
  expect(await tookMs(() => echo("quick"))).toBeLessThan(1_000);
  proxy.fault = { kind: "delay", ms: 200, jitterMs: 50 };
  expect(await tookMs(() => echo("late"))).toBeGreaterThan(390);
  proxy.fault = { kind: "throttle", bytesPerSecond: 1_000 };
  expect(await tookMs(() => echo("x".repeat(300)))).toBeGreaterThan(240);
  proxy.fault = { kind: "swallow", what: "answered" };
  socket.write("lost");
  await eventually(() => proxy.swallowedBytes === 4);
  proxy.fault = none;
  await echo("heard");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  proxy.fault = { kind: "reset" };
  await closed;
  expect(await resets(connect(proxy.port, "127.0.0.1"))).toBe(true);
  expect(proxy.accepted).toBe(2);
});

const resets = (socket: Socket): Promise<boolean> =>
  new Promise((resolve) => {
    socket.on("error", () => resolve(true)).on("end", () => resolve(false));
    socket.resume();
  });

test.concurrent("F11: a Redis that accepts and says nothing costs half a second a command, and is left for good after two", {
  timeout,
}, async ({ task }) => {
  await using server = await startRedis();
  await using proxy = await FaultProxy.start({ port: server.port });
  const lifecycle = new Lifecycle();
  await using _close = { [Symbol.asyncDispose]: () => lifecycle.close() };
  const redis = await connectRedis({ REDIS_URL: `redis://127.0.0.1:${proxy.port}` }, lifecycle);
  await redis.set("key", "value");
  for (let round = 0; round < rounds; round++) {
    proxy.fault = run(task).pick(silences);
    run(task).fault("silence", "of Redis");
    expect(await tookMs(() => expect(redis.get("key")).rejects.toThrow("timed out"))).toBeLessThan(2_000);
    const before = proxy.accepted;
    await eventually(() => proxy.accepted > before, { deadlineMs: 10_000 });
    proxy.fault = none;
    await run(task).recovers("Redis answers", async () => (await redis.get("key")) === "value");
  }
});

test.concurrent("F11: a NATS that says nothing any more is left, and nothing waits for longer than its deadline", {
  timeout,
}, async ({ task }) => {
  await using server = await startNats();
  await using proxy = await FaultProxy.start({ port: server.port });
  const nats = await openNats({ url: `nats://127.0.0.1:${proxy.port}` });
  await using _close = { [Symbol.asyncDispose]: () => nats.close() };
  const { rec } = await openStreams(nats);
  let newest = await rec.append("rec.faults.r", Buffer.from("0"), { expectedSequence: 0 });
  for (let round = 1; round <= rounds; round++) {
    proxy.fault = { kind: "swallow", what: "answered" };
    run(task).fault("silence", "of NATS");
    const write = () => rec.append("rec.faults.r", Buffer.from(`${round}`), { expectedSequence: newest });
    // It arrived, and nobody knows.
    const unknown = () => expect(write()).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
    expect(await tookMs(unknown)).toBeLessThan(5_000);
    const unread = () => expect(rec.read("rec.faults.r")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(await tookMs(unread)).toBeLessThan(15_000);
    // By itself, as its pings are not answered.
    const before = proxy.accepted;
    await eventually(() => proxy.accepted > before, { deadlineMs: 30_000 });
    proxy.fault = none;
    const found = await run(task).recovers("NATS answers", () => rec.read("rec.faults.r"));
    expect(Buffer.from(found.data).toString()).toBe(`${round}`);
    newest = found.sequence;
  }
});

test.concurrent("F11: a service that accepts and says nothing fails a call at its deadline, and is found again", {
  timeout,
}, async ({ task }) => {
  const server = new RpcServer({ logger: createLogger({ name: "test", level: "silent" }) });
  server.add(
    OperationsDefinition,
    partialService<OperationsServiceImplementation>(OperationsDefinition, {
      listOperations: async () => ({ operations: [] }),
    }),
  );
  const address = await server.listen("127.0.0.1:0");
  await using _server = { [Symbol.asyncDispose]: () => server.close() };
  await using proxy = await FaultProxy.start({ port: Number(address.split(":")[1]) });
  const client = createRpcClient(OperationsDefinition, `127.0.0.1:${proxy.port}`, { timeoutMs: 1_000 });
  const call = () => client.listOperations({});
  for (let round = 0; round < rounds; round++) {
    proxy.fault = run(task).pick(silences);
    run(task).fault("silence", "of a service");
    const late = () => expect(call()).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
    expect(await tookMs(late)).toBeLessThan(3_000);
    proxy.fault = none;
    await run(task).recovers("the service answers", () => call().catch(() => undefined));
    for (const fault of [
      { kind: "throttle", bytesPerSecond: 1_000 },
      { kind: "delay", ms: 500, jitterMs: 200 },
    ] as const) {
      proxy.fault = fault;
      run(task).fault(fault.kind, "of a service");
      expect(await tookMs(() => call().catch(() => undefined))).toBeLessThan(3_000);
    }
  }
  client.close();
});
