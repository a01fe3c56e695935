import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { eventually, startNats } from "#libs/testing";
import { openNats } from "./nats-connection.ts";
import { createRecordStore, rawCodec } from "./record-store.ts";
import { RecordView } from "./record-view.ts";
import { ensureStreams, openStreams } from "./streams.ts";

const name = "projects/default/vms/web";

test("the sequences of a stream that was lost and made anew are above all that it had, so that old tokens are refused", async () => {
  await using server = await startNats();
  const nats = await openNats({ url: server.url });
  const stop = new AbortController();
  try {
    const { rec: log, ops } = await openStreams(nats);
    const store = createRecordStore({ log, codec: rawCodec, clock, random });
    const { version: old } = await store.create(name, { uid: "vm-1", body: {} });
    const epoch = await ops.append("op.1", new Uint8Array(), { expectedSequence: 0 });
    const view = await RecordView.start({ log, filter: "rec.>", codec: rawCodec, signal: stop.signal });

    const manager = await jetstreamManager(nats);
    expect(await ensureStreams(nats, manager)).toEqual([]);
    for (const stream of ["REC", "OPS"]) await manager.streams.delete(stream);
    expect(await ensureStreams(nats, manager)).toEqual(["REC", "OPS"]);

    expect(await ops.append("op.1", new Uint8Array(), { expectedSequence: 0 })).toBeGreaterThan(epoch);
    const { version } = await store.create(name, { uid: "vm-2", body: {} });
    expect(version).toBeGreaterThan(old);
    await view.waitFor(version);
    expect(view.get(name)?.uid).toBe("vm-2");
    const late = view.watch({ since: old, signal: stop.signal });
    await expect(late.next().then(() => late.next())).rejects.toMatchObject({ reason: "RESYNC" });
  } finally {
    stop.abort();
    await nats.close();
  }
});

test("a restart of the server keeps what streams hold, and where an empty one goes on", async () => {
  await using server = await startNats();
  const nats = await openNats({ url: server.url });
  try {
    const { rec, ops } = await openStreams(nats);
    const began = Date.now() * 1_000 - 60e6;
    const sequences: number[] = [];
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await server.stop(signal);
      await server.start();
      const expectedSequence = sequences.at(-1) ?? 0;
      const append = () => rec.append("rec.projects.p", new Uint8Array(), { expectedSequence });
      sequences.push(await eventually(append, { deadlineMs: 20_000 }));
    }
    expect(sequences[0]).toBeGreaterThan(began);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    const { state } = await (await jetstreamManager(nats)).streams.info("REC");
    expect(state.messages).toBe(sequences.length);
    expect(await ops.append("op.1", new Uint8Array(), { expectedSequence: 0 })).toBeGreaterThan(began);
  } finally {
    await nats.close();
  }
});

test("several that make the streams at once, and one that was killed while it did, agree on where they begin", async () => {
  await using server = await startNats();
  const nats = await openNats({ url: server.url });
  try {
    const manager = await jetstreamManager(nats);
    await manager.streams.add({ name: "REC", subjects: ["making.REC"], deny_delete: true });
    await Promise.all(Array.from({ length: 4 }, () => openStreams(nats)));
    const { created, config, state } = await manager.streams.info("REC");
    expect(state.first_seq).toBe(Date.parse(created) * 1_000);
    expect(config.subjects).toEqual(["rec.>"]);
  } finally {
    await nats.close();
  }
});
