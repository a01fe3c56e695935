import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { ensureStreams } from "#libs/records";

export interface KeepStreamsDeps {
  readonly nats: NatsConnection;
  readonly manager: JetStreamManager;
  readonly clock: Clock;
  readonly logger: Pick<Logger, "error" | "debug">;
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 2_000;
/** Hints are in memory: a restart of the server takes them away, and their workers make their stream again. */
const COMES_AND_GOES = "JOBS";

/**
 * Makes streams anew that are gone while the services run, as when the server's data was lost: without them nothing that
 * runs could go on, and nothing be restored. They are empty then, which is told as an error until somebody acts on it.
 */
export async function keepStreams({ nats, manager, clock, logger, signal }: KeepStreamsDeps): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const made = (await ensureStreams(nats, manager)).filter((name) => name !== COMES_AND_GOES);
      if (made.length > 0) {
        const help = "stillpoint admin restore FILE, or: stillpoint admin rebuild";
        logger.error({ streams: made, help }, "streams were gone and are empty now: what they held is lost");
      }
    } catch (err) {
      logger.debug({ err }, "nobody says whether the streams are there");
    }
  }
}
