import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll } from "vitest";
import { openNats, openStreams } from "#libs/records";
import { startNats, type TestServer } from "#libs/testing";
import { JetStreamJobQueue } from "./jetstream-job-queue.ts";
import { jobQueueContract } from "./job-queue.contract.ts";

let server: TestServer;
let nats: Awaited<ReturnType<typeof openNats>>;

beforeAll(async () => {
  server = await startNats();
  nats = await openNats({ url: server.url });
});

afterAll(async () => {
  await nats.close();
  await server[Symbol.asyncDispose]();
});

jobQueueContract("JetStreamJobQueue", async () => {
  const manager = await jetstreamManager(nats);
  await manager.streams.delete("JOBS").catch(() => undefined);
  await openStreams(nats);
  return await JetStreamJobQueue.open(nats);
});
