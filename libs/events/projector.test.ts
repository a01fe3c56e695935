import { describe, expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { createMemoryLog, createRecordStore, type MemoryLog, type MemoryLogOptions, rawCodec } from "#libs/records";
import { eventually } from "#libs/testing";
import { subjectOfEvent, toEvent } from "./cloud-event.ts";
import { startProjector } from "./projector.ts";

const vm = "projects/default/vms/web";
const event = (happened: string, n = 0) => ({ aggregate: "vm", happened, data: { n } });

function world(options: MemoryLogOptions = {}) {
  const records = createMemoryLog(clock, options);
  const events = createMemoryLog(clock, { complete: true });
  const store = createRecordStore({ log: records, codec: rawCodec, clock, random });
  const start = () => startProjector({ records, events, clock, random, logger: silentLogger });
  return { records, events, store, start };
}

async function published(events: MemoryLog, count: number) {
  await eventually(async () => (await events.lastSequence()) >= count);
  const stop = new AbortController();
  const all: ReturnType<typeof toEvent>[] = [];
  for await (const message of events.follow("evt.>", { afterSequence: 0, signal: stop.signal })) {
    all.push(toEvent(message));
    if (message.pending === 0) break;
  }
  return all;
}

describe("the projector", () => {
  test("publishes what records carry, in order, as CloudEvents", async () => {
    const { events, store, start } = world();
    const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const created = { ...event("created"), time: "2026-01-02T03:04:05.000Z", traceparent: trace };
    await store.create(vm, { uid: "vm-1", body: {}, events: [created, event("started")] });
    await store.modify(vm, () => ({ body: {}, events: [event("stopped")] }));
    const projector = start();
    const all = await published(events, 3);
    expect(all.map(({ subject }) => subject)).toEqual([
      "evt.vm.v1.created.default.web",
      "evt.vm.v1.started.default.web",
      "evt.vm.v1.stopped.default.web",
    ]);
    expect(all[0]).toMatchObject({
      ...{ type: "stillpoint.vm.v1.created", resource: vm, id: "1.0", token: "1", data: { n: 0 } },
      time: new Date("2026-01-02T03:04:05.000Z"),
    });
    await projector.close();
  });

  test("goes on where the last one ended, in the middle of a record too", async () => {
    const { events, store, start } = world();
    await store.create(vm, { uid: "vm-1", body: {}, events: [event("created"), event("started")] });
    const first = start();
    await published(events, 2);
    await first.close();
    await store.modify(vm, () => ({ body: {}, events: [event("stopped")] }));
    const second = start();
    expect((await published(events, 3)).map(({ id }) => id)).toEqual(["1.0", "1.1", "2.0"]);
    await second.close();
  });

  test("repeats and interleaves nothing when two of them run", async () => {
    const { events, store, start } = world();
    const projectors = [start(), start()];
    await store.create(vm, { uid: "vm-1", body: {}, events: [event("created")] });
    for (let n = 1; n < 30; n++) await store.modify(vm, () => ({ body: {}, events: [event("changed", n)] }));
    const all = await published(events, 30);
    expect(all.map(({ data }) => data?.n)).toEqual(Array.from({ length: 30 }, (_, n) => n));
    await Promise.all(projectors.map((projector) => projector.close()));
    expect(await events.lastSequence()).toBe(30);
  });

  test("passes over what is not a record", async () => {
    const { records, events, store, start } = world();
    const foreign = [Buffer.from("not JSON"), Buffer.from("null"), Buffer.from('{"name":1}')];
    for (const [index, data] of foreign.entries()) {
      await records.append(`rec.foreign.${index}`, data, { expectedSequence: 0, messageId: `foreign-${index}` });
    }
    await store.create(vm, { uid: "vm-1", body: {}, events: [event("created")] });
    const projector = start();
    expect((await published(events, 1)).map(({ id }) => id)).toEqual(["4.0"]);
    await projector.close();
  });

  test("tells that versions of a record were lost, rather than nothing", async () => {
    const { events, store, start } = world({ maxPerSubject: 1 });
    await store.create("hosts/a", { uid: "host-a", body: {}, events: [event("created")] });
    const first = start();
    await published(events, 1);
    await first.close();
    for (let n = 0; n < 3; n++) {
      await store.modify("hosts/a", () => ({ body: {}, events: [event("changed", n)] }));
    }
    const second = start();
    const all = await published(events, 3);
    expect(all.map(({ subject }) => subject)).toEqual([
      "evt.vm.v1.created.-.a",
      "evt.record.v1.gap.-.a",
      "evt.vm.v1.changed.-.a",
    ]);
    await second.close();
  });
});

test("an event's subject ends with the ids of its resource", () => {
  expect(subjectOfEvent(event("x"), "projects/p/vms/v/checkpoints/c")).toBe("evt.vm.v1.x.p.v.c");
  expect(subjectOfEvent(event("x"), "hosts/n1/ledger")).toBe("evt.vm.v1.x.-.n1");
});
