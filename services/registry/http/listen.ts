import { once } from "node:events";
import type { Server } from "node:http";
import { ownIdentity } from "#libs/tls";

/** How long requests under way may go on after a stop. */
const DRAIN_MS = 3_000;

/** Without TLS nobody else may come near: neither tokens nor images cross a network in the clear. */
const loopback = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):/;

/** Listens on `host:port` (port 0: any) and answers the address that it got. Beyond loopback there must be TLS. */
export async function listen(server: Server, wanted: string): Promise<{ address: string; close(): Promise<void> }> {
  if (ownIdentity() === undefined && !loopback.test(wanted)) {
    throw new Error(
      `refusing to listen on ${wanted} without TLS: set TLS_CA, TLS_CERT and TLS_KEY, or use 127.0.0.1:<port>`,
    );
  }
  const { hostname, port } = new URL(`http://${wanted}`);
  server.listen({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) });
  await once(server, "listening");
  const bound = server.address();
  const address = typeof bound === "object" && bound !== null ? `${hostname}:${bound.port}` : wanted;
  return { address, close: () => close(server) };
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  const cut = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await closed;
  clearTimeout(cut);
}
