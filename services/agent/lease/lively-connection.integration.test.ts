import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { expect, test } from "vitest";
import { silentLogger } from "#libs/logger";
import { openNats } from "#libs/records";
import { eventually, startNats } from "#libs/testing";
import { LivelyConnection } from "./lively-connection.ts";

/** A way to a server that can go dead: it stays connected, and passes nothing on. */
class Way implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  isDead = false;

  private constructor(server: Server, target: number) {
    this.#server = server;
    server.on("connection", (near: Socket) => {
      const far = createConnection(target, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from.on("error", () => to.destroy()).on("close", () => to.destroy()));
        from.on("data", (data) => this.isDead || to.write(data));
      }
    });
  }

  static async to(target: number): Promise<Way> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Way(server, target);
  }

  get address(): string {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

test("a server that is connected and gives no sign of life is left for another one within seconds", async () => {
  await using server = await startNats();
  const port = Number(new URL(server.url).port);
  await using one = await Way.to(port);
  await using other = await Way.to(port);
  const nats = await openNats({ url: `nats://${one.address},nats://${other.address}` });
  try {
    const line = new LivelyConnection(nats, silentLogger);
    const before = nats.getServer();
    const dead = before === one.address ? one : other;
    line.doubt();
    await nats.flush();
    expect(nats.getServer()).toBe(before);
    dead.isDead = true;
    const { returned } = line;
    await eventually(
      () => {
        line.doubt();
        return nats.getServer() !== before;
      },
      { deadlineMs: 9_000 }, // a ping of its own fails after 10 s at the earliest
    );
    await returned;
    await nats.flush();
  } finally {
    await nats.close();
  }
}, 20_000);
