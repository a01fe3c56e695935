import type { NatsConnection } from "@nats-io/transport-node";
import type { Random } from "#libs/clock";
import type { Changed, ImageIndex } from "../index/image-index.ts";
import type { ChangeListener } from "./changes.ts";

const SUBJECT = "registry.changed";

/**
 * Tells the other replicas' indexes of changes, and follows theirs. A message may be lost: an index is made anew after
 * each reconnection and from time to time, and nothing but lists is taken from it.
 */
export function tellNeighbours(nats: NatsConnection, random: Random, index: ImageIndex): ChangeListener {
  const self = random.id("replica");
  nats.subscribe(SUBJECT, {
    callback(error, message) {
      if (error !== null) return;
      const { from, ...changed } = message.json<Changed & { from: string }>();
      if (from !== self) index.follow(changed);
    },
  });
  const rebuildWhenBack = async () => {
    for await (const { type } of nats.status()) if (type === "reconnect") index.rebuild();
  };
  rebuildWhenBack().catch(() => {});
  return ({ repository, tags, digests }) => {
    if (!nats.isClosed()) nats.publish(SUBJECT, JSON.stringify({ from: self, repository, tags, digests }));
  };
}
