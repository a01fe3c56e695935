import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { compact, createRecordStore, openNats, openStreams, RecordView, rawCodec, type Streams } from "#libs/records";
import { eventually, startNats, type TestServer } from "#libs/testing";
import { toEvent } from "./cloud-event.ts";
import { projectedUpTo, startProjector } from "./projector.ts";

const vm = "projects/default/vms/web";
const subject = "rec.projects.default.vms.web";
let server: TestServer;
let nats: Awaited<ReturnType<typeof openNats>>;
let streams: Streams;

/** Of EVT, when it was made. */
let before: number;

beforeAll(async () => {
  server = await startNats();
  nats = await openNats({ url: server.url });
  streams = await openStreams(nats);
  before = await streams.evt.lastSequence();
});

afterAll(async () => {
  await nats.close();
  await server[Symbol.asyncDispose]();
});

async function project(upTo: number): Promise<void> {
  const ports = { clock, random, logger: silentLogger };
  const projector = startProjector({ records: streams.rec, events: streams.evt, ...ports });
  await eventually(async () => (await streams.evt.lastSequence()) - before >= upTo);
  await projector.close();
}

async function published(count: number): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const message of streams.evt.follow("evt.>", { afterSequence: 0, signal: new AbortController().signal })) {
    const { data, type } = toEvent(message);
    all.push(type === "stillpoint.vm.v1.changed" ? data?.n : type);
    if (all.length === count) break;
  }
  return all;
}

test("compaction keeps 8 states and all that is not projected; watchers that come late start over", async () => {
  const { rec: log, evt } = streams;
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  const stop = new AbortController();
  const events = (n: number) => [{ aggregate: "vm", happened: "changed", data: { n } }];
  const write = async (from: number, to: number) => {
    for (let n = from; n < to; n++) await store.modify(vm, () => ({ body: { n }, events: events(n) }));
  };
  const round = async () => {
    await compact({ records: log, projected: () => projectedUpTo(evt) });
    return await log.sequencesOf(subject);
  };
  const open = () => RecordView.start({ log, filter: "rec.>", codec: rawCodec, signal: stop.signal });

  const { version: first } = await store.create(vm, { uid: "vm-1", body: { n: 0 }, events: events(0) });
  const early = await open();
  await write(1, 30);
  expect(await round()).toHaveLength(30);

  await project(30);
  await write(30, 50);
  expect(await round()).toHaveLength(20);

  await project(50);
  expect(await published(50)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  const kept = await round();
  expect(kept).toHaveLength(8);
  expect(await round()).toEqual(kept);
  expect((await store.get(vm))?.body).toEqual({ n: 49 });

  const watch = async (view: RecordView<unknown>) => {
    const seen: number[] = [];
    for await (const change of view.watch({ since: first, signal: stop.signal })) {
      if ("record" in change) seen.push((change.record.body as { n: number }).n);
      if (seen.at(-1) === 50) return seen;
    }
    return seen;
  };
  const late = await open();
  await write(50, 51);
  await expect(watch(late)).rejects.toMatchObject({ reason: "RESYNC" });
  expect(await watch(early)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
  stop.abort();
});
