import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { eventually, startNats, type TestServer } from "#libs/testing";
import { openJetStreamLog, openNats, openStreams, RecordView, rawCodec } from "./index.ts";
import { logContract } from "./log.contract.ts";
import { createRecordStore } from "./record-store.ts";

let server: TestServer;
let nats: Awaited<ReturnType<typeof openNats>>;

beforeAll(async () => {
  server = await startNats({ syncAlways: true });
  nats = await openNats({ url: server.url });
});

afterAll(async () => {
  await nats.close();
  await server[Symbol.asyncDispose]();
});

let streams = 0;
async function openLog() {
  const manager = await jetstreamManager(nats);
  if (streams++ > 0) await manager.streams.delete("TEST");
  return await openJetStreamLog(nats, {
    ...{ name: "TEST", subjects: ["rec.>", "obs.>"], storage: StorageType.File, max_msgs_per_subject: 64 },
    duplicate_window: nanos(120_000),
  });
}

logContract("JetStreamLog", openLog);

describe("RecordView on JetStream", () => {
  const vm = (id: number) => `projects/default/vms/vm-${id}`;

  test("survives a crash of the server, and starts over when the stream was made again", async () => {
    const log = await openLog();
    const store = createRecordStore({ log, codec: rawCodec, clock: systemClock, random: systemRandom });
    const stop = new AbortController();
    const view = await RecordView.start({ log, filter: "rec.projects.*.vms.*", codec: rawCodec, signal: stop.signal });
    const late: number[] = [];
    const reading = (async () => {
      const options = { afterSequence: 0, signal: stop.signal, lagMs: () => 20 };
      for await (const { sequence } of log.follow("rec.projects.*.vms.*", options)) late.push(sequence);
    })().catch(() => undefined);
    const first = await store.create(vm(1), { uid: "vm-1", body: { n: 1 } });
    await view.waitFor(first.version);
    expect(view.get(vm(1))?.body).toEqual({ n: 1 });

    await server.stop("SIGKILL");
    await server.start();
    const second = await store.modify(vm(1), () => ({ body: { n: 2 } }));
    await view.waitFor(second?.version ?? 0);
    expect(view.get(vm(1))?.body).toEqual({ n: 2 });
    await eventually(() => late.length === 2);
    expect(late).toEqual([first.version, second?.version]);

    const again = createRecordStore({
      log: await openLog(),
      codec: rawCodec,
      clock: systemClock,
      random: systemRandom,
    });
    await again.create(vm(2), { uid: "vm-2", body: { n: 3 } });
    await server.stop("SIGKILL");
    await server.start();
    await eventually(() => view.get(vm(2)) !== undefined && view.get(vm(1)) === undefined);
    stop.abort();
    await reading;
  });

  test("passes over what other kinds wrote", async () => {
    const log = await openLog();
    const stop = new AbortController();
    const view = await RecordView.start({ log, filter: "rec.hosts.*", codec: rawCodec, signal: stop.signal });
    const store = createRecordStore({ log, codec: rawCodec, clock: systemClock, random: systemRandom });
    const { version } = await store.create(vm(1), { uid: "vm-1", body: {} });
    await view.waitFor(version);
    expect(view.token).toBe(version);
    expect(view.list()).toEqual([]);
    stop.abort();
  });
});

test("streams are made once, by however many processes", async () => {
  const opened = await Promise.all([openStreamsAlone(), openStreamsAlone()]);
  expect(opened.map(({ ops }) => ops.stream)).toEqual(["OPS", "OPS"]);
});

async function openStreamsAlone() {
  const manager = await jetstreamManager(nats);
  await manager.streams.delete("TEST").catch(() => undefined);
  return await openStreams(nats);
}
