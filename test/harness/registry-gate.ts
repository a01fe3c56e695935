import { once } from "node:events";
import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

/** Stands before a registry: slows it down, cuts it off, and notes which blobs are read through it. */
export class RegistryGate implements AsyncDisposable {
  readonly #server;
  readonly #registry: string;
  #isCut = false;
  /** How often it was knocked at while it was cut. */
  refusals = 0;
  /** Digests of blobs, once for each time that one was asked for; those that were refused do not count. */
  readonly reads: string[] = [];
  /** Before each blob is read. */
  delayMs = 0;

  private constructor(registry: string) {
    this.#registry = registry;
    this.#server = createServer((incoming, answer) => {
      this.#pass(incoming, answer).catch(() => answer.destroy());
    });
  }

  /** @param registry `host:port` */
  static async open(registry: string, port: number): Promise<RegistryGate> {
    const gate = new RegistryGate(registry);
    gate.#server.listen(port, "127.0.0.1");
    await once(gate.#server, "listening");
    return gate;
  }

  /** Breaks every connection, and each new one, until `mend`. */
  cut(): void {
    this.#isCut = true;
    this.#server.closeAllConnections();
  }

  mend(): void {
    this.#isCut = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #pass(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    if (this.#isCut) {
      this.refusals += 1;
      answer.destroy();
      return;
    }
    const [, digest] = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(incoming.url ?? "") ?? [];
    if (incoming.method === "GET" && digest !== undefined) {
      this.reads.push(digest);
      await delay(this.delayMs);
    }
    const { method = "GET", headers } = incoming;
    const outgoing = forward(new URL(incoming.url ?? "/", `http://${this.#registry}`), { method, headers });
    incoming.pipe(outgoing);
    const [response]: IncomingMessage[] = await once(outgoing, "response");
    answer.writeHead(response?.statusCode ?? 502, response?.headers);
    response?.pipe(answer);
  }
}
