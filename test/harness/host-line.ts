import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ConnectionOptions, connect, type NatsConnection } from "@nats-io/transport-node";

/**
 * A connection to NATS with the certificate in a folder (ca.crt, tls.crt, tls.key), as the agent of `host` has one. It is
 * not made again when it ends.
 */
export async function connectAsHost(
  folder: string,
  servers: string,
  host: string,
  otherwise: ConnectionOptions = {},
): Promise<NatsConnection & AsyncDisposable> {
  const [ca, cert, key] = await Promise.all(
    ["ca.crt", "tls.crt", "tls.key"].map((name) => readFile(join(folder, name), "utf8")),
  );
  const options = { servers, inboxPrefix: `_INBOX_host-${host}`, reconnect: false, ...otherwise };
  const nats = await connect({ tls: { ca, cert, key }, ...options } as ConnectionOptions);
  return Object.assign(nats, { [Symbol.asyncDispose]: () => nats.close() });
}

/** Resolves when the server lets none of these be said; gives those that it lets. */
export async function sayable(nats: NatsConnection, subjects: readonly string[]): Promise<readonly string[]> {
  const said: string[] = [];
  for (const subject of subjects) {
    const error = await nats.request(subject, "{}", { timeout: 5_000 }).catch((reason: unknown) => String(reason));
    if (typeof error !== "string" || !error.includes("Permissions Violation for Publish")) said.push(subject);
  }
  return said;
}

/** Those of the subjects that the server lets be heard. */
export async function hearable(nats: NatsConnection, subjects: readonly string[]): Promise<readonly string[]> {
  const refused = new Set<string>();
  const all = subjects.map((subject) =>
    nats.subscribe(subject, { callback: (error) => void (error !== null && refused.add(subject)) }),
  );
  await nats.flush();
  for (const subscription of all) subscription.unsubscribe();
  return subjects.filter((subject) => !refused.has(subject));
}
