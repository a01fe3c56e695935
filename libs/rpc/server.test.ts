import { stat, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { HealthDefinition } from "nice-grpc-server-health";
import { expect, test } from "vitest";
import { EventsDefinition, type EventsServiceImplementation } from "#contracts/event/v1/event";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { silentLogger } from "#libs/logger";
import { type CallScope, createRpcClient, RpcServer } from "#libs/rpc";
import { temporaryFolder } from "#libs/testing";
import { aborted, failure, operations, served } from "./testing/served.ts";

test("closing ends streams at once and lets unary calls finish", async () => {
  const started = Promise.withResolvers<void>();
  await using rpc = await served({
    async *watchOperation({ name }, { signal }) {
      yield { name };
      await aborted(signal);
    },
    async cancelOperation({ name }) {
      started.resolve();
      await sleep(100);
      return { name };
    },
  });
  const stream = rpc.client.watchOperation({ name: "operations/x" }, { resumptions: 0 })[Symbol.asyncIterator]();
  await stream.next();
  const unary = rpc.client.cancelOperation({ name: "operations/x" });
  await started.promise;
  const [ended] = await Promise.all([failure(Promise.resolve(stream.next())), rpc.server.close()]);
  expect(ended).toMatchObject({ reason: "UNAVAILABLE", message: "the service is stopping" });
  await expect(unary).resolves.toMatchObject({ name: "operations/x" });
});

test("health follows the process", async () => {
  let healthy = true;
  const server = new RpcServer({ logger: silentLogger, health: () => healthy }).add(
    OperationsDefinition,
    operations({}),
  );
  const address = await server.listen("127.0.0.1:0");
  const client = createRpcClient(HealthDefinition, address);
  expect(await client.check({ service: "" })).toMatchObject({ status: 1 });
  healthy = false;
  expect(await client.check({ service: "" })).toMatchObject({ status: 2 });
  client.close();
  await server.close();
});

test("listens on a Unix socket of its owner alone, and takes a dead one's place", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/run/agent.sock`;
  const handlers: EventsServiceImplementation<CallScope> = {
    async *watchEvents() {
      yield { token: "1" };
    },
  };
  const server = new RpcServer({ logger: silentLogger }).add(EventsDefinition, handlers);
  expect(await server.listen(`unix:${path}`)).toBe(`unix:${path}`);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const client = createRpcClient(EventsDefinition, `unix:${path}`);
  const tokens: string[] = [];
  for await (const { token } of client.watchEvents({})) tokens.push(token);
  expect(tokens).toEqual(["1"]);
  const second = new RpcServer({ logger: silentLogger }).add(EventsDefinition, handlers);
  await expect(second.listen(`unix:${path}`)).rejects.toThrow("somebody listens");
  await second.close();
  client.close();
  await server.close();
  await expect(stat(path)).rejects.toThrow("ENOENT");

  await writeFile(path, "");
  const third = new RpcServer({ logger: silentLogger }).add(EventsDefinition, handlers);
  await third.listen(`unix:${path}`);
  await third.close();
});

test.each(["0.0.0.0:0", "192.0.2.1:7070", "example.com:7070", "[::]:7070"])(
  "refuses to listen on %s without TLS",
  async (address) => {
    await expect(new RpcServer({ logger: silentLogger }).listen(address)).rejects.toThrow("without TLS");
  },
);

test("closing does not wait for a handler for ever", async () => {
  const started = Promise.withResolvers<void>();
  const rpc = await served({
    cancelOperation() {
      started.resolve();
      return new Promise(() => undefined);
    },
  });
  const call = failure(rpc.client.cancelOperation({ name: "operations/x" }, { timeoutMs: 600_000 }));
  await started.promise;
  await rpc[Symbol.asyncDispose]();
  expect(await call).toBeInstanceOf(Error);
});
