import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { isHealthy } from "./health.ts";
import { beginServing } from "./once-served.ts";

/** The part of a Lifecycle that is needed here. */
interface Parts {
  add<Part>(name: string, part: Part, close: (part: Part) => Promise<void> | void): Part;
}

/**
 * Serves the metrics at http://<METRICS_ADDRESS>/metrics, tells at /health by 200 or 503 how the process is, and gives
 * the address with its port; without an address it does nothing. Call it before an RpcServer listens, so that its calls
 * are measured too.
 */
export async function serveMetrics(
  { METRICS_ADDRESS: address }: { readonly METRICS_ADDRESS?: string | undefined },
  lifecycle: Parts,
): Promise<string | undefined> {
  if (address === undefined) return undefined;
  const [, host, port] = /^(127\.\d+\.\d+\.\d+|localhost):(\d+)$/.exec(address) ?? [];
  if (host === undefined) throw new Error(`refusing to serve metrics on ${address}: use 127.0.0.1:<port>`);
  const { metricsText } = await beginServing();
  const server = createServer((request, response) => {
    if (request.url === "/health") {
      response.writeHead(isHealthy() ? 200 : 503).end();
      return;
    }
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    metricsText().then(
      ({ contentType, text }) => response.writeHead(200, { "content-type": contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(Number(port), host, resolve);
  });
  lifecycle.add("metrics", server, (it) => {
    it.closeAllConnections();
    it.close();
  });
  return `${host}:${(server.address() as AddressInfo).port}`;
}
