import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Random } from "#libs/clock";
import { encodeLooseEvent } from "#libs/events";
import { recordNameOf } from "../domain/record-name.ts";
import type { PullSink } from "./pulls.ts";

const ANSWER_WITHIN_MS = 2_000;

/** Publishes counts of pulls to stream PULL, as well as it can: what does not arrive at once is lost. */
export function pullStream(nats: NatsConnection, random: Random): PullSink {
  const client = jetstream(nats);
  return async (pulls) => {
    for (const { repository, lastTime, ...pull } of pulls) {
      const { subject, data } = encodeLooseEvent({
        ...{ prefix: "pull", aggregate: "image", happened: "pulled", id: random.id("pull") },
        resource: recordNameOf(repository),
        time: lastTime,
        data: { repository, ...pull },
      });
      await client.publish(subject, data, { timeout: ANSWER_WITHIN_MS, retries: 0 });
    }
  };
}
