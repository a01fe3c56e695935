import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { type Clock, systemClock } from "#libs/clock";
import { eventually, loopback, startNats } from "#libs/testing";
import { watchRoom } from "./watch-room.ts";

test("a NATS server that fills up is warned of, once for each time", async () => {
  const monitorPort = await loopback.freePort();
  await using server = await startNats({ mayKeep: "1MB", monitorPort });
  const nats = await connect({ servers: server.url });
  await using _connection = { [Symbol.asyncDispose]: () => nats.close() };
  const manager = await jetstreamManager(nats);
  await manager.streams.add({ name: "S", subjects: ["s"] });
  const told: unknown[] = [];
  let looks = 0;
  const clock: Pick<Clock, "sleep"> = {
    sleep(ms, signal) {
      looks++;
      return systemClock.sleep(ms, signal);
    },
  };
  /** The first look that ends after this call may have begun before it. */
  const looked = async () => {
    const before = looks;
    await eventually(() => looks > before + 1);
  };
  const stop = new AbortController();
  const logger = { warn: (what: object) => told.push(what) };
  const monitorUrls = `http://127.0.0.1:${monitorPort},http://127.0.0.1:1`;
  const watching = watchRoom({ monitorUrls, clock, logger, signal: stop.signal, everyMs: 20 });
  const write = async (times: number) => {
    for (let time = 0; time < times; time++) await jetstream(nats).publish("s", new Uint8Array(100_000));
  };
  try {
    await write(7);
    await looked();
    expect(told).toEqual([]);
    await write(2);
    await eventually(() => told.length === 1);
    await manager.streams.purge("S");
    await looked();
    await write(9);
    await eventually(() => told.length === 2);
    expect(told[0]).toMatchObject({ server: `127.0.0.1:${monitorPort}`, percent: expect.closeTo(90, -1) as number });
  } finally {
    stop.abort();
    await watching;
  }
});
