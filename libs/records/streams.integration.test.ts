import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { startNats } from "#libs/testing";
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
