import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { EventsDefinition, type EventsServiceImplementation } from "#contracts/event/v1/event";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { VmsDefinition, type VmsServiceImplementation } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { type CallScope, createRpcClient, RpcServer, resumeTokenHeader } from "#libs/rpc";
import { eventually, freePort, partialService, temporaryFolder } from "#libs/testing";
import { aborted, failure, served } from "./testing/served.ts";

type Watch = EventsServiceImplementation<CallScope>["watchEvents"];

async function serveEvents(watchEvents: Watch, address = "127.0.0.1:0") {
  const server = new RpcServer({ logger: silentLogger }).add(EventsDefinition, { watchEvents });
  return { server, address: await server.listen(address) };
}

test("calls go round all addresses, and on without the one that is closed", async () => {
  await using folder = temporaryFolder();
  const names = ["a", "b", "c"];
  const addresses = ["127.0.0.1:0", `unix:${folder.path}/b.sock`, "127.0.0.1:0"];
  const replicas = await Promise.all(
    names.map((name, index) => served({ getOperation: async () => ({ name }) }, addresses[index])),
  );
  const client = createRpcClient(OperationsDefinition, replicas.map(({ address }) => address).join(","));
  const ask = async () => (await client.getOperation({ name: "operations/x" })).name;
  await eventually(async () => new Set(await Promise.all([1, 2, 3, 4, 5, 6].map(ask))).size === 3);
  let begun = 0;
  const asking = Array.from({ length: 200 }, async (_, index) => {
    await sleep(index);
    begun++;
    return ask();
  });
  await eventually(() => begun >= 50, { everyMs: 1 });
  await replicas[1]?.server.close();
  const answers = await Promise.all(asking);
  expect(answers).toHaveLength(200);
  expect(answers.slice(-20)).not.toContain("b");
  client.close();
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
});

test("a replica that comes later is found by its name", async () => {
  const port = await freePort();
  await using first = await served({ getOperation: async () => ({ name: "first" }) });
  const client = createRpcClient(OperationsDefinition, `${first.address},localhost:${port}`);
  const ask = async () => (await client.getOperation({ name: "operations/x" })).name;
  expect(await ask()).toBe("first");
  const second = await served({ getOperation: async () => ({ name: "second" }) }, `127.0.0.1:${port}`);
  await eventually(async () => (await ask()) === "second");
  client.close();
  await second[Symbol.asyncDispose]();
});

test("a mutation that is tried again has the same ids, which its request need not name", async () => {
  const seen: { callId: string; requestId: string; previousAttempts: number }[] = [];
  await using rpc = await served({
    async probe({ requestId }, { callId, previousAttempts }) {
      seen.push({ callId, requestId, previousAttempts });
      if (seen.length < 3) throw new StillpointError("UNAVAILABLE", "not yet");
      return { name: requestId };
    },
  });
  const { name } = await rpc.client.probe({});
  expect(seen.map((it) => it.previousAttempts)).toEqual([0, 1, 2]);
  expect(new Set(seen.map((it) => it.callId))).toEqual(new Set([name]));
  expect(new Set(seen.map((it) => it.requestId))).toEqual(new Set([name]));
  await rpc.client.probe({ requestId: "mine" });
  expect(seen.at(-1)).toMatchObject({ requestId: "mine", callId: expect.stringMatching(/^call-/) });
  expect(seen.at(-1)?.callId).not.toBe(name);
});

test("what another replica cannot mend is not tried again", async () => {
  let calls = 0;
  await using rpc = await served({
    cancelOperation() {
      calls++;
      throw new StillpointError("HOST_UNREACHABLE", "the host is away");
    },
  });
  expect(await failure(rpc.client.cancelOperation({ name: "x" }))).toMatchObject({ reason: "HOST_UNREACHABLE" });
  expect(calls).toBe(1);
});

test("a replica that accepts calls and never answers costs time, not the call", async () => {
  await using silent = await served({ cancelOperation: (_request, { signal }) => aborted(signal) });
  await using alive = await served({ cancelOperation: async ({ name }) => ({ name }) });
  const client = createRpcClient(OperationsDefinition, `${silent.address},${alive.address}`, { timeoutMs: 3_000 });
  for (let call = 0; call < 2; call++) await client.cancelOperation({ name: "operations/x" });
  client.close();
});

test("a watch goes on behind its last token at another replica", async () => {
  const asked: string[] = [];
  const watch = (from: number, to: number): Watch =>
    async function* ({ since }, { signal }) {
      asked.push(since);
      for (let token = Math.max(from, Number(since) + 1); token <= to; token++) yield { token: String(token) };
      // The first ends without an error of its own.
      await aborted(signal).catch((error: unknown) => {
        if (to === 6) throw error;
      });
    };
  const first = await serveEvents(watch(1, 3));
  const client = createRpcClient(EventsDefinition, `${first.address},127.0.0.1:${await freePort()}`);
  const tokens: string[] = [];
  const watching = (async () => {
    for await (const { token } of client.watchEvents({ since: "0", follow: true })) {
      tokens.push(token);
      if (token === "6") return;
    }
  })();
  await eventually(() => tokens.length === 3);
  await first.server.close();
  const second = await serveEvents(watch(1, 6), first.address);
  await watching;
  expect(tokens).toEqual(["1", "2", "3", "4", "5", "6"]);
  expect(asked).toEqual(["0", "3"]);
  client.close();
  await second.server.close();
});

test("a watch from now on that broke off before anything came misses nothing", async () => {
  const asked: string[] = [];
  await using closing = new AsyncDisposableStack();
  const { server, address } = await serveEvents(async function* ({ since }, call) {
    asked.push(since);
    call.header.set(resumeTokenHeader, "41");
    call.sendHeader();
    await sleep(20);
    if (since === "") throw new StillpointError("UNAVAILABLE", "the service is stopping");
    yield { token: String(Number(since) + 1) };
    await aborted(call.signal);
  });
  closing.defer(() => server.close());
  const client = createRpcClient(EventsDefinition, address);
  closing.defer(() => client.close());
  const tokens: string[] = [];
  for await (const { token } of client.watchEvents({ follow: true })) {
    tokens.push(token);
    break;
  }
  expect(tokens).toEqual(["42"]);
  expect(asked).toEqual(["", "41"]);
});

test("a watch that goes on elsewhere says once that it has told all that there was", async () => {
  const since: (number | undefined)[] = [];
  await using watching = await serveVmWatch(async function* (request) {
    since.push(request.since);
    yield { kind: "KIND_SYNCED", token: 5 };
    if (since.length === 1) throw new StillpointError("UNAVAILABLE", "the service is stopping");
    yield { kind: "KIND_BOOKMARK", token: 6 };
  });
  const kinds: string[] = [];
  for await (const { kind } of watching.client.watchVms({ parent: "projects/default" })) {
    kinds.push(kind);
    if (kind === "KIND_BOOKMARK") break;
  }
  expect(kinds).toEqual(["KIND_SYNCED", "KIND_BOOKMARK"]);
  expect(since.at(-1)).toBe(5);
});

test("a watch that breaks off within its snapshot says so", async () => {
  await using watching = await serveVmWatch(async function* () {
    yield { kind: "KIND_CURRENT", token: 5 };
    throw new StillpointError("UNAVAILABLE", "the service is stopping");
  });
  const watch = async () => {
    for await (const _ of watching.client.watchVms({ parent: "projects/default" }));
  };
  expect(await failure(watch())).toMatchObject({ reason: "RESYNC" });
});

type VmHandlers = VmsServiceImplementation<CallScope>;

async function serveVmWatch(watchVms: VmHandlers["watchVms"]) {
  const handlers: Pick<VmHandlers, "watchVms"> = { watchVms };
  const server = new RpcServer({ logger: silentLogger }).add(
    VmsDefinition,
    partialService<VmHandlers>(VmsDefinition, handlers),
  );
  const client = createRpcClient(VmsDefinition, await server.listen("127.0.0.1:0"));
  return {
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await server.close();
    },
  };
}
