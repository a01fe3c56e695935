import { once } from "node:events";
import type { Server } from "node:http";

/** How long requests under way may go on after a stop. */
const DRAIN_MS = 3_000;

/** Listens on `host:port` (port 0: any) and answers the address that it got. */
export async function listen(server: Server, wanted: string): Promise<{ address: string; close(): Promise<void> }> {
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
