import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "#libs/logger";

const ANSWER_MS = 1_000;

/**
 * A connection whose server is behind a broken network looks well for half a minute. A host that waited for that would be
 * taken for down: so, when it gets no answer, the server is asked for a sign of life, and left for another one.
 */
export class LivelyConnection {
  readonly #nats: NatsConnection;
  readonly #logger: Logger;
  #returned = Promise.withResolvers<void>();
  #isAsking = false;

  constructor(nats: NatsConnection, logger: Logger) {
    this.#nats = nats;
    this.#logger = logger;
    this.#follow().catch((error: unknown) => logger.warn({ err: error }, "the connection to NATS is not watched"));
  }

  /** Resolves when the connection has come back the next time. */
  get returned(): Promise<void> {
    return this.#returned.promise;
  }

  /** To be called when no answer came to what was sent. */
  doubt(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#ask()
      .catch((error: unknown) => this.#logger.debug({ err: error }, "NATS is not connected to anew"))
      .finally(() => {
        this.#isAsking = false;
      });
  }

  async #ask(): Promise<void> {
    const patience = new AbortController();
    const silent = delay(ANSWER_MS, "silent" as const, patience).catch(() => "given up" as const);
    const heard = await Promise.race([this.#nats.flush(), silent]);
    patience.abort();
    if (heard !== "silent" || this.#nats.isClosed()) return;
    this.#logger.warn("NATS gives no sign of life; it is connected to anew");
    await this.#nats.reconnect();
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.#nats.status()) {
      if (type !== "reconnect") continue;
      this.#returned.resolve();
      this.#returned = Promise.withResolvers();
    }
  }
}
