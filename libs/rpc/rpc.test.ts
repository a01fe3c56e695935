import { setTimeout as sleep } from "node:timers/promises";
import { Status } from "nice-grpc-common";
import { ErrorInfo, RichServerError } from "nice-grpc-error-details";
import { pino } from "pino";
import { expect, test } from "vitest";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { isStillpointError, StillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { currentIds } from "#libs/telemetry";
import { aborted, failure, operations, served } from "./testing/served.ts";

test("a StillpointError crosses whole", async () => {
  await using rpc = await served({
    getOperation({ name }) {
      throw new StillpointError("OPERATION_NOT_FOUND", `${name} was not found`, { help: "Look.", metadata: { name } });
    },
  });
  const error = await failure(rpc.client.getOperation({ name: "operations/x" }));
  expect(error).toMatchObject({
    reason: "OPERATION_NOT_FOUND",
    message: "operations/x was not found",
    help: "Look.",
    metadata: { name: "operations/x", requestId: expect.stringMatching(/^req-/) },
  });
  expect(isStillpointError(error)).toBe(true);
});

test("an unknown error tells the caller the request id only, and the log the stack", async () => {
  let log = "";
  const write = (line: string) => {
    log += line;
  };
  const logger = pino({}, { write });
  const server = new RpcServer({ logger }).add(
    OperationsDefinition,
    operations({ getOperation: () => Promise.reject(new Error("the secret of the house")) }),
  );
  const client = createRpcClient(OperationsDefinition, await server.listen("127.0.0.1:0"));
  const error = await failure(client.getOperation({ name: "operations/x" }));
  client.close();
  await server.close();
  expect(error).toMatchObject({ reason: "INTERNAL", message: expect.stringMatching(/^internal error \(request req-/) });
  expect(log).toContain("the secret of the house");
  expect(log).toContain("rpc.test.ts");
});

test("a reason that this version does not know becomes the general one of its status", async () => {
  await using rpc = await served({
    getOperation() {
      throw new RichServerError(Status.INVALID_ARGUMENT, "the moon is full", [
        ErrorInfo.fromPartial({ reason: "MOON_FULL", domain: "stillpoint" }),
      ]);
    },
  });
  expect(await failure(rpc.client.getOperation({ name: "operations/x" }))).toMatchObject({
    reason: "ARGUMENT_INVALID",
    message: "the moon is full",
    metadata: { foreignReason: "MOON_FULL" },
  });
});

test("the request id travels to the handler, its log lines, the calls it makes, and back in a header", async () => {
  await using far = await served({ getOperation: async (_request, { requestId }) => ({ name: requestId }) });
  await using near = await served({
    async getOperation({ name }, { requestId }) {
      const seenFar = await far.client.getOperation({ name });
      return { name: [requestId, currentIds().requestId, seenFar.name].join(" ") };
    },
    async *watchOperation(_request, { requestId }) {
      yield { name: requestId };
      await sleep(1);
      yield { name: currentIds().requestId ?? "lost", done: true };
    },
  });
  const headers: (string | undefined)[] = [];
  const answer = await near.client.getOperation(
    { name: "operations/x" },
    { onHeader: (header) => void headers.push(header.get("x-request-id")) },
  );
  const [id] = answer.name.split(" ");
  expect(id).toMatch(/^req-/);
  expect(answer.name).toBe(`${id} ${id} ${id}`);
  expect(headers).toEqual([id]);
  const names: string[] = [];
  for await (const { name } of near.client.watchOperation({ name: "operations/x" })) names.push(name);
  expect(names[0]).toMatch(/^req-/);
  expect(names).toEqual([names[0], names[0]]);
  expect(currentIds()).toEqual({});
});

test("a server that is short of files says that it is to be asked again, or another", async () => {
  let calls = 0;
  await using rpc = await served({
    async getOperation({ name }) {
      if (++calls === 1) throw Object.assign(new Error("too many open files"), { code: "EMFILE" });
      return { name };
    },
  });
  expect(await rpc.client.getOperation({ name: "operations/x" })).toMatchObject({ name: "operations/x" });
});

test("two calls at once keep their own ids", async () => {
  await using rpc = await served({
    async getOperation(_request, { requestId }) {
      await sleep(5);
      return { name: String(currentIds().requestId === requestId) };
    },
  });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => rpc.client.getOperation({ name: "operations/x" })),
  );
  expect(answers.map(({ name }) => name)).toEqual(Array.from({ length: 20 }, () => "true"));
});

test("a unary call that is never answered ends at its deadline", async () => {
  await using rpc = await served({ cancelOperation: (_request, { signal }) => aborted(signal) });
  const error = await failure(rpc.client.cancelOperation({ name: "operations/x" }, { timeoutMs: 50 }));
  expect(error).toMatchObject({ reason: "DEADLINE_EXCEEDED" });
});

test("a stream that falls silent fails; one that only pauses goes on", async () => {
  await using rpc = await served({
    async *watchOperation({ name }, { signal }) {
      yield { name };
      await sleep(40);
      yield { name, done: name.endsWith("steady") };
      if (name.endsWith("silent")) await aborted(signal);
    },
  });
  const watch = async (name: string) => {
    for await (const _ of rpc.client.watchOperation({ name }, { idleTimeoutMs: 200, resumptions: 0 }));
  };
  await expect(watch("operations/steady")).resolves.toBeUndefined();
  expect(await failure(watch("operations/silent"))).toMatchObject({
    reason: "UNAVAILABLE",
    message: expect.stringContaining("went silent"),
  });
});

test("reads and commands are tried again while the server is unavailable", async () => {
  const calls = { get: 0, cancel: 0 };
  await using rpc = await served({
    async getOperation({ name }) {
      calls.get++;
      if (calls.get < 3) throw new StillpointError("UNAVAILABLE", "not yet");
      return { name };
    },
    cancelOperation() {
      calls.cancel++;
      throw new StillpointError("UNAVAILABLE", "not yet");
    },
  });
  await expect(rpc.client.getOperation({ name: "operations/x" })).resolves.toMatchObject({ name: "operations/x" });
  expect(await failure(rpc.client.cancelOperation({ name: "operations/x" }))).toMatchObject({ reason: "UNAVAILABLE" });
  expect(calls).toEqual({ get: 3, cancel: 5 });
});

test("nobody there gives UNAVAILABLE with the address", async () => {
  await using rpc = await served({});
  const other = new RpcServer({ logger: silentLogger });
  const address = await other.listen("127.0.0.1:0").catch(String);
  await other.close();
  await rpc.server.close();
  const client = createRpcClient(OperationsDefinition, "127.0.0.1:1");
  expect(await failure(client.cancelOperation({ name: "operations/x" }))).toMatchObject({
    reason: "UNAVAILABLE",
    message: expect.stringContaining("127.0.0.1:1 cannot be reached"),
  });
  client.close();
  expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
});

test("the caller's signal ends a call with an AbortError", async () => {
  await using rpc = await served({ cancelOperation: (_request, { signal }) => aborted(signal) });
  const error = await failure(
    rpc.client.cancelOperation({ name: "operations/x" }, { signal: AbortSignal.timeout(30) }),
  );
  expect(error).toMatchObject({ name: "AbortError" });
});
