import type { NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";

/** How long nodes have for their answers; one that is away has no connections either, or drops them in time. */
const answerMs = 500;

const answer = z.object({
  server: z.object({ id: z.string() }),
  data: z.object({ connections: z.array(z.object({ cid: z.number() })).default([]) }),
});

/**
 * Ends the connections of a user at every node. `system`: a connection in the system account. The client may connect
 * anew, and is judged anew.
 */
export async function endConnections(system: NatsConnection, user: string): Promise<void> {
  const asked = JSON.stringify({ user });
  const options = { strategy: "timer", maxWait: answerMs } as const;
  for await (const message of await system.requestMany("$SYS.REQ.SERVER.PING.CONNZ", asked, options)) {
    const { server, data } = answer.parse(message.json());
    for (const { cid } of data.connections) {
      await system.request(`$SYS.REQ.SERVER.${server.id}.KICK`, JSON.stringify({ cid }));
    }
  }
}
