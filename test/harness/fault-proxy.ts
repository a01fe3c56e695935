import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

type Direction = "asked" | "answered";

/** What happens to what passes. Connections stay, and none is refused, but with `reset`. */
export type Fault =
  | { readonly kind: "none" }
  /** Nothing arrives, in one direction or both; a peer that accepts and then says nothing. */
  | { readonly kind: "swallow"; readonly what: Direction | "both" }
  /** Each piece is late by `ms`, and by up to `jitterMs` more. */
  | { readonly kind: "delay"; readonly ms: number; readonly jitterMs?: number }
  | { readonly kind: "throttle"; readonly bytesPerSecond: number }
  /** Every connection is reset, and each new one at once. */
  | { readonly kind: "reset" };

const TICK_MS = 50;

/** Stands before a TCP server on the loopback, and fails as networks do. */
export class FaultProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #fault: Fault = { kind: "none" };
  #accepted = 0;
  #swallowedBytes = 0;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (from) => this.#accept(from, target));
  }

  /** @param target where it passes connections on to */
  static async start(target: { readonly host?: string; readonly port: number }): Promise<FaultProxy> {
    const proxy = new FaultProxy({ host: "127.0.0.1", ...target });
    await once(proxy.#server.listen(0, "127.0.0.1"), "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("it does not listen");
    return address.port;
  }

  /** How many connections there have been. */
  get accepted(): number {
    return this.#accepted;
  }

  get swallowedBytes(): number {
    return this.#swallowedBytes;
  }

  /** From now on, also for connections that there are. What was swallowed is gone for good. */
  set fault(fault: Fault) {
    this.#fault = fault;
    if (fault.kind === "reset") for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #accept(from: Socket, target: { readonly host: string; readonly port: number }): void {
    this.#accepted++;
    if (this.#fault.kind === "reset") {
      from.resetAndDestroy();
      return;
    }
    const to = connect({ ...target, allowHalfOpen: true, noDelay: true });
    for (const socket of [from, to]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => this.#sockets.delete(socket));
    }
    from.once("close", () => to.destroy());
    to.once("close", () => from.destroy());
    for (const passing of [this.#pass(from, to, "asked"), this.#pass(to, from, "answered")]) {
      // Whoever breaks the connection has both ends closed above.
      passing.catch(() => undefined);
    }
  }

  async #pass(from: Socket, to: Socket, direction: Direction): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (this.#isSwallowed(direction)) this.#swallowedBytes += chunk.length;
      else await this.#slowly(chunk, to);
    }
    if (!this.#isSwallowed(direction)) to.end();
  }

  #isSwallowed(direction: Direction): boolean {
    const fault = this.#fault;
    return fault.kind === "swallow" && (fault.what === "both" || fault.what === direction);
  }

  async #slowly(chunk: Buffer, to: Socket): Promise<void> {
    const fault = this.#fault;
    if (fault.kind === "delay") await sleep(fault.ms + Math.random() * (fault.jitterMs ?? 0));
    if (fault.kind !== "throttle") return await write(to, chunk);
    const size = Math.max(1, Math.round((fault.bytesPerSecond * TICK_MS) / 1_000));
    for (let at = 0; at < chunk.length; at += size) {
      await write(to, chunk.subarray(at, at + size));
      await sleep(TICK_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
  }
}

async function write(to: Socket, data: Buffer): Promise<void> {
  if (!to.write(data)) await once(to, "drain");
}
