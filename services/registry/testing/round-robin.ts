import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse, request as startRequest } from "node:http";
import { pipeline } from "node:stream/promises";
import { listen } from "../http/listen.ts";

/** What is said of one connection, not of the message in it, is not passed on (RFC 9110, 7.6.1). */
const ofTheConnection = new Set(["connection", "keep-alive", "proxy-connection", "upgrade", "expect"]);

/**
 * A proxy that gives each request to the next of some servers, and to the one after it where nobody listens, as nginx
 * does without sticky sessions; for tests. It ends no idle connection and takes a new one for each request to a server:
 * neither its clients nor itself can send a request into a connection that the other side is just closing.
 */
export async function startRoundRobin(targets: readonly string[]) {
  let turn = 0;
  const server = createServer((request, response) => {
    const inTurn = targets.map((_, place) => targets[(turn + place) % targets.length] ?? "");
    turn += 1;
    forward(inTurn, request, response);
  });
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  const listening = await listen(server, "127.0.0.1:0");
  return { url: `http://${listening.address}`, [Symbol.asyncDispose]: () => listening.close() };
}

function forward([target = "", ...others]: readonly string[], request: IncomingMessage, response: ServerResponse) {
  const { method, url: path } = request;
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !ofTheConnection.has(name)));
  const outgoing = startRequest(new URL(target), { method, path, headers, agent: false });
  let isConnected = false;
  outgoing.once("socket", (socket) =>
    socket.once("connect", () => {
      isConnected = true;
      request.pipe(outgoing);
    }),
  );
  outgoing.once("response", (answer) => void passOn(answer, request, response));
  outgoing.on("error", () => {});
  outgoing.once("close", () => {
    if (!isConnected && others.length > 0 && !response.destroyed) return forward(others, request, response);
    // A server may answer before it has everything, and go. Its answer is what counts; the rest is for nobody.
    request.unpipe(outgoing).resume();
    if (!response.headersSent) response.writeHead(502).end();
  });
  response.once("close", () => outgoing.destroy());
}

async function passOn(answer: IncomingMessage, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { statusCode = 502, rawHeaders } = answer;
  const headers = rawHeaders.filter((_, at) => !ofTheConnection.has(rawHeaders[at - (at % 2)]?.toLowerCase() ?? ""));
  response.writeHead(statusCode, headers);
  try {
    await pipeline(answer, response, { end: false });
    if (!request.complete) await once(request, "close");
    response.end();
  } catch {
    // An answer that is cut is cut for the client too.
    response.destroy();
  }
}
