import { createServer, type IncomingMessage, request as startRequest } from "node:http";
import { pipeline } from "node:stream/promises";
import { listen } from "../http/listen.ts";

/** `pass` hands requests on, `fail` answers them with 500, `hang` never answers. */
export type ProxyMode = "pass" | "fail" | "hang";

/** A proxy before an HTTP server that can be made to fail; for tests. */
export async function startFaultyProxy(target: string) {
  let mode: ProxyMode = "pass";
  const server = createServer((request, response) => {
    if (mode === "hang") return void request.resume();
    if (mode === "fail") return void request.resume().on("end", () => response.writeHead(500).end());
    const { method, url: path, headers } = request;
    const outgoing = startRequest(new URL(target), { method, path, headers }, (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      pipeline(answer, response).catch(() => response.destroy());
    });
    outgoing.on("error", () => response.destroy());
    pipeline(request, outgoing).catch(() => outgoing.destroy());
  });
  const listening = await listen(server, "127.0.0.1:0");
  return {
    url: `http://${listening.address}`,
    turn(to: ProxyMode) {
      mode = to;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await listening.close();
    },
  };
}
