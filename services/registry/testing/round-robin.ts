import { createServer, type IncomingMessage, request as startRequest } from "node:http";
import { pipeline } from "node:stream/promises";
import { listen } from "../http/listen.ts";

/** A proxy that gives each request to the next of some servers, as nginx does without sticky sessions; for tests. */
export async function startRoundRobin(targets: readonly string[]) {
  let turn = 0;
  const server = createServer((request, response) => {
    const { method, url: path, headers } = request;
    const target = new URL(targets[turn++ % targets.length] ?? "");
    const outgoing = startRequest(target, { method, path, headers }, (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      pipeline(answer, response).catch(() => response.destroy());
    });
    outgoing.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    pipeline(request, outgoing).catch(() => outgoing.destroy());
  });
  const listening = await listen(server, "127.0.0.1:0");
  return { url: `http://${listening.address}`, [Symbol.asyncDispose]: () => listening.close() };
}
