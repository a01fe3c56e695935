import { AuthorizationError, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { ownIdentity } from "#libs/tls";
import { openNats } from "./nats-connection.ts";

const pauseMs = 250;
/** Of one that is refused again and again, as it was forgotten. */
const longestPauseMs = 5_000;
/** One refusal may be that of a moment. */
const toldAfter = 3;
/** A first connection that takes longer is told of. */
const patienceMs = 5_000;

/**
 * The connection of a host's agent, closed with the lifecycle. NATS asks the scheduler who may connect: a refusal may
 * mean that none answers at the moment, or that the host was forgotten and may yet join anew. So it is tried again for
 * ever, less and less often, and told.
 */
export async function connectHost(
  config: { readonly NATS_URL: string },
  lifecycle: Lifecycle,
  logger: Logger,
): Promise<NatsConnection> {
  const refusals = new Refusals(logger);
  const options = { ...ownInbox(), ignoreAuthErrorAbort: true, reconnectDelayHandler: () => refusals.pauseMs() };
  // The client does not say why it takes so long.
  const telling = setInterval(() => refusals.tell("no connection to NATS yet: it cannot be reached"), patienceMs);
  const nats = await openNats({ url: config.NATS_URL }, options).finally(() => clearInterval(telling));
  lifecycle.add("nats connection", nats, (connection) => connection.close());
  refusals.end();
  follow(nats, refusals).catch((err: unknown) => logger.warn({ err }, "the connection to NATS is not watched"));
  return nats;
}

async function follow(nats: NatsConnection, refusals: Refusals): Promise<void> {
  for await (const status of nats.status()) {
    if (status.type === "reconnect") refusals.end();
    if (status.type === "error" && status.error instanceof AuthorizationError) refusals.add();
  }
}

/** How often the server has refused, one time after the other. */
class Refusals {
  readonly #logger: Logger;
  #count = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  pauseMs(): number {
    return Math.min(pauseMs * 2 ** this.#count, longestPauseMs) + Math.random() * pauseMs;
  }

  add(): void {
    this.#count += 1;
    if (this.#count === toldAfter) this.tell("NATS is not reached");
  }

  tell(what: string): void {
    this.#count = Math.max(this.#count, toldAfter);
    this.#logger.warn({}, `${what}; or it refuses this host, which was forgotten, or for which no scheduler answers`);
  }

  end(): void {
    this.#count = 0;
  }
}

/** What the scheduler lets a host hear: answers to itself, by the name in its certificate. */
function ownInbox(): Pick<ConnectionOptions, "inboxPrefix"> {
  const name = ownIdentity()?.name;
  return name?.startsWith("host/") ? { inboxPrefix: `_INBOX_${name.replace("/", "-")}` } : {};
}
