import { createServer, type IncomingMessage, type ServerResponse, request as startRequest } from "node:http";
import { pipeline } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import { listen } from "../http/listen.ts";

/**
 * `pass` hands requests on, `delay` does so a while later, `fail` answers them with 500, `throttle` as S3 does that has
 * too much to do, `hang` never.
 */
export type ProxyMode = "pass" | "delay" | "fail" | "throttle" | "hang";

const DELAY_MS = 150;
const SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/** A proxy before an HTTP server that can be made to fail; for tests. */
export async function startFaultyProxy(target: string) {
  let mode: ProxyMode = "pass";
  let left = 0;
  const next = (): ProxyMode => {
    left -= 1;
    return left >= 0 ? mode : "pass";
  };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const what = next();
    if (what === "hang") return void request.resume();
    if (what === "fail") return void request.resume().on("end", () => response.writeHead(500).end());
    if (what === "throttle") return void request.resume().on("end", () => response.writeHead(503).end(SLOW_DOWN));
    if (what === "delay") await setTimeout(DELAY_MS);
    const { method, url: path, headers } = request;
    const outgoing = startRequest(new URL(target), { method, path, headers }, (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      pipeline(answer, response).catch(() => response.destroy());
    });
    outgoing.on("error", () => response.destroy());
    pipeline(request, outgoing).catch(() => outgoing.destroy());
  };
  const server = createServer((request, response) => void answer(request, response));
  const listening = await listen(server, "127.0.0.1:0");
  return {
    url: `http://${listening.address}`,
    /** For so many requests; then it passes them on. */
    turn(to: ProxyMode, times = Number.POSITIVE_INFINITY) {
      mode = to;
      left = times;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await listening.close();
    },
  };
}
