import { connect, createServer, type Server, type Socket } from "node:net";

/** A way to the engine's socket that can be cut, as if the engine had ended. */
export class EngineLink implements AsyncDisposable {
  readonly path: string;
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(target: string, path: string) {
    this.#target = target;
    this.path = path;
  }

  async restore(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (from) => {
      const to = connect({ path: this.#target, allowHalfOpen: true });
      for (const socket of [from, to]) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined).on("close", () => this.#sockets.delete(socket));
      }
      from.pipe(to).pipe(from);
      from.once("close", () => to.destroy());
      to.once("close", () => from.destroy());
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  async cut(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#server === undefined) return;
    this.#server.close(() => resolve());
    for (const socket of this.#sockets) socket.destroy();
    await promise;
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut();
  }
}
