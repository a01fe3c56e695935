import type { NatsConnection } from "@nats-io/transport-node";
import { Heartbeat, HeartbeatAck, type HeldWorkload } from "#contracts/host/v1/agent";

/** Answers a host's heartbeats as a scheduler replica that owns it would, or does not. */
export class TestOwner {
  epoch = 10;
  ttlMs = 4_000;
  answers = true;
  /** Its word on those that are held. */
  word: "resume" | "end" | "none" = "resume";
  /** When it last answered, on the process's own monotonic clock: it counts the lease from there. */
  answeredMs = 0;
  /** The newest heartbeat. */
  heard: Heartbeat | undefined;

  constructor(nats: NatsConnection) {
    nats.subscribe("hb.host.v1.*", {
      callback: (_error, message) => {
        const heartbeat = Heartbeat.fromJSON(message.json());
        this.heard = heartbeat;
        if (!this.answers) return;
        this.answeredMs = performance.now();
        message.respond(JSON.stringify(HeartbeatAck.toJSON(this.answer(heartbeat))));
      },
    });
  }

  answer({ hostUid, bootId, sequence, held }: Heartbeat): HeartbeatAck {
    const uids = held.map(({ uid }: HeldWorkload) => uid);
    return {
      ...{ hostUid, bootId, sequence, epoch: this.epoch, ttlMs: this.ttlMs },
      resumeUids: this.word === "resume" ? uids : [],
      endUids: this.word === "end" ? uids : [],
    };
  }
}
