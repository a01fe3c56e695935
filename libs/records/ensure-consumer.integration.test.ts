import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { Lifecycle } from "#libs/lifecycle";
import { startNats } from "#libs/testing";
import { ensureConsumer } from "./ensure-consumer.ts";
import { connectNats } from "./nats-connection.ts";

test("a consumer of an older version is changed, and goes on where it stood", async () => {
  await using server = await startNats();
  const lifecycle = new Lifecycle();
  const nats = await connectNats({ NATS_URL: server.url }, lifecycle);
  try {
    const manager = await jetstreamManager(nats);
    await manager.streams.add({ name: "S", subjects: ["s"] });
    const config = { durable_name: "svc", ack_policy: AckPolicy.Explicit, filter_subject: "s" };
    await ensureConsumer(manager, "S", config);
    for (const text of ["first", "second"]) await jetstream(nats).publish("s", text);
    const consumer = await jetstream(nats).consumers.get("S", "svc");
    await (await consumer.next())?.ackAck();
    for (let again = 0; again < 2; again++) await ensureConsumer(manager, "S", { ...config, max_deliver: 9 });
    expect((await manager.consumers.info("S", "svc")).config.max_deliver).toBe(9);
    expect((await consumer.next())?.string()).toBe("second");
  } finally {
    await lifecycle.close();
  }
});
