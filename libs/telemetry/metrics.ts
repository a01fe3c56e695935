import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { collectDefaultMetrics, Registry } from "prom-client";
import { isHealthy } from "./health.ts";

/** The process's own metrics; those of its calls are in the registry of nice-grpc-prometheus. */
export const processMetrics = new Registry();

let served = false;

/** True once they are served: what costs something to measure is only measured then. */
export const metricsAreServed = (): boolean => served;

/** The part of a Lifecycle that is needed here. */
interface Parts {
  add<Part>(name: string, part: Part, close: (part: Part) => Promise<void> | void): Part;
}

/**
 * Serves the metrics at http://<METRICS_ADDRESS>/metrics, tells at /health by 200 or 503 how the process is, and gives the address with its port; without an address it
 * does nothing. Call it before an RpcServer listens, so that its calls are measured too.
 */
export async function serveMetrics(
  { METRICS_ADDRESS: address }: { readonly METRICS_ADDRESS?: string | undefined },
  lifecycle: Parts,
): Promise<string | undefined> {
  if (address === undefined) return undefined;
  const [, host, port] = /^(127\.\d+\.\d+\.\d+|localhost):(\d+)$/.exec(address) ?? [];
  if (host === undefined) throw new Error(`refusing to serve metrics on ${address}: use 127.0.0.1:<port>`);
  if (!served) collectDefaultMetrics({ register: processMetrics });
  served = true;
  const { registry } = await import("nice-grpc-prometheus");
  const server = createServer((request, response) => {
    if (request.url === "/health") {
      response.writeHead(isHealthy() ? 200 : 503).end();
      return;
    }
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    // Anew for each answer: what was registered after the start is in it.
    const all = Registry.merge([processMetrics, registry]);
    all.metrics().then(
      (text) => response.writeHead(200, { "content-type": all.contentType }).end(text),
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
