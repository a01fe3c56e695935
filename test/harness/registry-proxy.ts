import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";

/** What a test does with a request instead of passing it on; true when it has answered or hung up. */
export type Fault = (incoming: IncomingMessage, answer: ServerResponse) => boolean;

/** A registry as an engine reaches it: passes requests on to the real one, notes them, and fails as a test says. */
export interface RegistryProxy extends AsyncDisposable {
  readonly url: string;
  /** Where the real one is; known later. */
  target: string;
  /** "GET /v2/web/manifests/sha256:..." in order. */
  readonly requests: string[];
  fault: Fault | undefined;
}

export async function startRegistryProxy(): Promise<RegistryProxy> {
  const server = createServer((incoming, answer) => {
    proxy.requests.push(`${incoming.method} ${incoming.url}`);
    if (proxy.fault?.(incoming, answer) !== true) passOn(proxy.target, incoming, answer);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: RegistryProxy = {
    url: `http://127.0.0.1:${portOf(server)}`,
    target: "",
    requests: [],
    fault: undefined,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
  return proxy;
}

function passOn(target: string, incoming: IncomingMessage, answer: ServerResponse): void {
  const { method, headers, url = "/" } = incoming;
  const onward = request(new URL(url, target), { method, headers }, (got) => {
    answer.writeHead(got.statusCode ?? 502, got.headers);
    got.pipe(answer);
  });
  onward.on("error", () => answer.destroy());
  incoming.pipe(onward);
}

function portOf(server: Server): number {
  const address = server.address();
  return address !== null && typeof address === "object" ? address.port : 0;
}
