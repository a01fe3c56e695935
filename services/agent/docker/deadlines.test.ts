import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { DockerEngine } from "./docker-engine.ts";

afterEach(() => vi.useRealTimers());

/** An engine that answers no more than it is told to. */
async function engineThat(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder());
  const server = createServer(answer);
  const socketPath = join(folder.path, "docker.sock");
  await once(server.listen(socketPath), "listening");
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, engine: new DockerEngine({ socketPath, hostData: "host-1" }), stack };
}

test.each([
  ["start", 60, "starting ctr-1"],
  ["create", 60, "making network a"],
  ["stop", 310, "stopping ctr-1"],
  ["commit", 3_600, "committing ctr-1"],
] as const)("%s is given up after %d s", async (call, seconds, what) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const { server, engine, stack } = await engineThat(() => undefined);
  await using _stack = stack;
  const calls = {
    start: () => engine.start("ctr-1"),
    create: () => engine.createNetwork("a"),
    stop: () => engine.stop("ctr-1", 10),
    commit: () => engine.commit("ctr-1", { repository: "a", tag: "b" }),
  };
  const seen = vi.fn();
  const ended = calls[call]().then(seen, seen);
  await once(server, "request");
  vi.advanceTimersByTime(seconds * 1_000 - 1);
  await new Promise(setImmediate);
  expect(seen).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  await ended;
  const message = `${what}: the container engine has not answered in ${seconds} s`;
  expect(seen.mock.calls).toEqual([[expect.objectContaining({ reason: "ENGINE_UNAVAILABLE", message })]]);
});

test("a pull goes on as long as the engine tells of it", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const responses = Promise.withResolvers<ServerResponse>();
  const { engine, stack } = await engineThat((_request, response) => responses.resolve(response));
  await using _stack = stack;
  const told: number[] = [];
  const progress = ({ bytesDone = 0 }: { bytesDone?: number }) => void told.push(bytesDone);
  const ended = engine.images.pull("r/a@sha256:1", undefined, { signal: new AbortController().signal, progress });
  const refused = expect(ended).rejects.toMatchObject({
    reason: "ENGINE_UNAVAILABLE",
    message: "pulling r/a@sha256:1: the container engine has not answered in 300 s",
  });
  const response = await responses.promise;
  for (const current of [1, 2, 3]) {
    response.write(`{"id":"a","status":"Downloading","progressDetail":{"current":${current},"total":9}}\n`);
    while (told.at(-1) !== current) await new Promise(setImmediate);
    vi.advanceTimersByTime(299_000);
  }
  vi.advanceTimersByTime(1_000);
  await refused;
});
