import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventsDefinition } from "#contracts/event/v1/event";
import { OperationState, type OperationsClient, OperationsDefinition } from "#contracts/operation/v1/operation";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectNats, createRecordStore, openStreams, rawCodec } from "#libs/records";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { eventually, freePort, startNats, startRedis, type TestServer, temporaryFolder } from "#libs/testing";
import { readOperationConfig } from "./config.ts";
import { startOperation } from "./service.ts";

const lifecycle = new Lifecycle();
let natsServer: TestServer;
let redisServer: TestServer;
let monitorPort: number;
let address: string;

const servers = () => ({
  NATS_URL: natsServer.url,
  NATS_MONITOR_URL: `http://127.0.0.1:${monitorPort}`,
  REDIS_URL: redisServer.url,
  LOG_LEVEL: "warn",
});

beforeAll(async () => {
  monitorPort = await freePort();
  [natsServer, redisServer] = await Promise.all([startNats({ syncAlways: true, monitorPort }), startRedis()]);
});

afterAll(async () => {
  await closeRpcClients();
  await lifecycle.close();
  await Promise.all([natsServer[Symbol.asyncDispose](), redisServer[Symbol.asyncDispose]()]);
});

async function endOf(operations: OperationsClient, name: string) {
  let last: Awaited<ReturnType<OperationsClient["getOperation"]>> | undefined;
  for await (const operation of operations.watchOperation({ name })) last = operation;
  return last;
}

/** The service as a process of its own, that ends with the test. */
class ServiceProcess {
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  start(): void {
    const main = join(import.meta.dirname, "main.ts");
    const env = { ...process.env, ...servers(), ...this.#env };
    const argv = ["--pdeathsig", "KILL", process.execPath, main];
    this.#child = spawn("setpriv", argv, { env, stdio: ["ignore", "ignore", "inherit"] });
  }

  get hasDied(): boolean {
    return this.#child !== undefined && (this.#child.signalCode !== null || this.#child.exitCode !== null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child === undefined || this.hasDied) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

describe("killed around its only step", () => {
  test.each(["before", "after", "committed"])(
    "%s it, the service ends the operation when it is back",
    async (point) => {
      await using folder = temporaryFolder();
      const marker = join(folder.path, "fired");
      const port = await freePort();
      await using service = new ServiceProcess({
        OPERATION_ADDRESS: `127.0.0.1:${port}`,
        OPERATION_TTL_MS: "1000",
        STILLPOINT_FAILPOINTS: `operation.probe.nothing.${point}=kill@once:${marker}`,
      });
      service.start();
      const operations = createRpcClient(OperationsDefinition, `127.0.0.1:${port}`);
      const requestId = `killed-${point}`;
      // It may begin, and die, before its answer is sent: then the caller asks again.
      const asked = eventually(() => operations.probe({ requestId }).catch(() => undefined), { deadlineMs: 30_000 });
      await eventually(() => service.hasDied, { deadlineMs: 15_000 });
      expect(existsSync(marker)).toBe(true);
      service.start();
      const { name } = await asked;
      const ended = await eventually(() => endOf(operations, name).catch(() => undefined), { deadlineMs: 15_000 });
      expect(ended.state).toBe(OperationState.SUCCEEDED);
      expect((await operations.probe({ requestId })).name).toBe(name);
    },
  );
});

test("a server that does not sync each write is refused, and nothing is left of the start", async () => {
  const lazyPort = await freePort();
  await using lazy = await startNats({ monitorPort: lazyPort });
  const env = { ...servers(), NATS_URL: lazy.url, NATS_MONITOR_URL: `http://127.0.0.1:${lazyPort}` };
  const own = new Lifecycle();
  await expect(startOperation(readOperationConfig(env), own)).rejects.toThrow("sync_interval: always");
  const tls = { TLS_CA: "/ca.crt", TLS_CERT: "/tls.crt", TLS_KEY: "/tls.key" };
  const unknown = startOperation(readOperationConfig({ ...servers(), ...tls, NATS_MONITOR_URL: "" }), own);
  await expect(unknown).rejects.toThrow("NATS_MONITOR_URL is not set");
  await own.close();
});

describe("the service", () => {
  beforeAll(async () => {
    const config = readOperationConfig({ ...servers(), OPERATION_ADDRESS: "127.0.0.1:0" });
    ({ address } = await startOperation(config, lifecycle));
  });

  test("accepts, runs, shows and lists an operation", async () => {
    const operations = createRpcClient(OperationsDefinition, address);
    const { name } = await operations.probe({});
    expect(await endOf(operations, name)).toMatchObject({ name, kind: "operation.probe", done: true });
    expect((await operations.getOperation({ name })).state).toBe(OperationState.SUCCEEDED);
    expect((await operations.listOperations({})).operations[0]?.name).toBe(name);
    expect((await operations.listOperations({ unfinishedOnly: true })).operations).toEqual([]);
  });

  test("tells of an operation that there is not", async () => {
    const operations = createRpcClient(OperationsDefinition, address);
    const name = "operations/op-none";
    await expect(operations.getOperation({ name })).rejects.toMatchObject({ reason: "OPERATION_NOT_FOUND" });
    await expect(operations.cancelOperation({ name })).rejects.toMatchObject({ reason: "OPERATION_NOT_FOUND" });
    await expect(endOf(operations, name)).rejects.toMatchObject({ reason: "OPERATION_NOT_FOUND" });
  });

  test("gives the events of records, from a token on", async () => {
    const events = createRpcClient(EventsDefinition, address);
    const { rec: log } = await openStreams(await connectNats(servers(), lifecycle));
    const store = createRecordStore({ log, codec: rawCodec, clock, random });
    const happened = (what: string) => [{ aggregate: "vm", happened: what, data: { what } }];
    await store.create("projects/default/vms/a", { uid: "vm-a", body: {}, events: happened("created") });
    await store.modify("projects/default/vms/a", () => ({ body: {}, events: happened("started") }));
    const read = async (since: string, filter = "") => {
      const all = [];
      for await (const event of events.watchEvents({ since, filter, follow: false })) all.push(event);
      return all;
    };
    const all = await eventually(async () => {
      const seen = await read("");
      return seen.length === 2 ? seen : undefined;
    });
    expect(all.map(({ type }) => type)).toEqual(["stillpoint.vm.v1.created", "stillpoint.vm.v1.started"]);
    expect(await read(all[0]?.token ?? "")).toEqual([all[1]]);
    expect(await read("", "evt.vm.v1.started.>")).toEqual([all[1]]);
    await expect(read("", "rec.>")).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await expect(read(`${Number(all[1]?.token) + 999}`)).resolves.toEqual([]);
    await expect(read("999")).rejects.toMatchObject({ reason: "RESYNC" });
  });
});
