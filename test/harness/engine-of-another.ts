import { rm } from "node:fs/promises";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { Transform } from "node:stream";

/** What containers of this host are called in the engine that it shares: as long as their own names. */
export const nameInShared = (uid: string): string => uid.replace(/^ctr-/, "ctx-");

/** A uid in a request; not where it is in the registry, nor where its secrets lie. */
const asked = /(?<!moves(?:\/|%2F)|stillpoint-[0-9a-f]{16}\/)ctr-(?=[0-9a-f]{8}-)/g;
/** A uid in an answer; not in the path where a volume's files are. */
const told = /(?<!volumes\/stillpoint-)ctx-(?=[0-9a-f]{8}-)/g;
/** What has to be known of the text around a uid. */
const context = 40;
const quietMs = 5;

/**
 * The engine of a second host, which is the first one's under other names: what it calls `ctr-...` is there as
 * `ctx-...`. So a container can be on both hosts, as on two engines.
 */
export class EngineOfAnother implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async start(engine: string, path: string): Promise<EngineOfAnother> {
    const server = createServer({ allowHalfOpen: true });
    const link = new EngineOfAnother(path, server);
    server.on("connection", (near) => link.#join(near, createConnection({ path: engine, allowHalfOpen: true })));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return link;
  }

  #join(near: Socket, far: Socket): void {
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        for (const other of [near, far]) other.destroySoon();
      });
    }
    near.pipe(renamed(asked, "ctx-")).pipe(far);
    far.pipe(renamed(told, "ctr-")).pipe(near);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    await rm(this.path, { force: true });
  }
}

/** Bytes with other names; what may be the first half of a name waits a moment for the rest. */
function renamed(names: RegExp, name: string): Transform {
  let before = "";
  let held = "";
  let timer: NodeJS.Timeout | undefined;
  const flush = (stream: Transform, keep: number) => {
    const ready = held.length - keep;
    if (ready <= 0) return;
    const all = before + held;
    const changed = all.replace(names, name).slice(before.length, before.length + ready);
    before = all.slice(0, before.length + ready).slice(-context);
    held = held.slice(ready);
    stream.push(Buffer.from(changed, "latin1"));
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      clearTimeout(timer);
      held += chunk.toString("latin1");
      flush(this, context);
      timer = setTimeout(() => flush(this, 0), quietMs);
      done();
    },
    flush(done) {
      clearTimeout(timer);
      flush(this, 0);
      done();
    },
  });
}
