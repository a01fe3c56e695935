import { expect, test } from "vitest";
import { systemClock as clock } from "#libs/clock";
import { isLasting } from "#libs/errors";
import { eventually, startNats } from "#libs/testing";
import { appendSurely } from "./append-surely.ts";
import { openJetStreamLog } from "./jetstream-log.ts";
import { openNats } from "./nats-connection.ts";
import { natsHealth } from "./nats-health.ts";
import { openStreams } from "./streams.ts";

const MiB = 2 ** 20;

test("a server that may keep no more refuses at once, is told to be ill, and takes writes again by itself", async () => {
  await using server = await startNats({ mayKeep: "1MB" });
  const nats = await openNats({ url: server.url });
  const health = natsHealth(nats);
  try {
    const log = await openJetStreamLog(nats, { name: "T", subjects: ["t.>"] });
    let written = 0;
    const write = (size: number, forMs: number) => {
      const subject = `t.${written}`;
      const sure = { subject, data: Buffer.alloc(size), expectedSequence: 0, messageId: subject };
      return appendSurely(log, sure, { clock, forMs }).then(() => written++);
    };
    await expect(openStreams(nats)).rejects.toThrow(/stream EVT cannot be made: .*max_file_store/);
    const refusal = await eventually(() =>
      write(MiB / 8, 60_000).then(
        () => undefined,
        (error: unknown) => ({ error }),
      ),
    );
    expect(refusal.error).toMatchObject({ reason: "UNAVAILABLE", help: expect.stringContaining("max_file_store") });
    expect([isLasting(refusal.error), health()]).toEqual([true, false]);

    const waiting = write(1_000, Number.POSITIVE_INFINITY);
    await log.purge("t.0", (await log.lastSequence()) + 1);
    await log.purge("t.1", (await log.lastSequence()) + 1);
    await waiting;
    expect(health()).toBe(true);
  } finally {
    await nats.close();
  }
});
