import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A number in a Redis of its own in a guest, written durably before it is acknowledged. */
export interface Counter {
  /** Resolves when the guest has it on its disk. */
  write(value: number): Promise<void>;
  read(): Promise<number>;
  close(): void;
}

const LISTENER_PORT = 6400;

/** Syncs each write before it answers. */
const server = `redis-server --port ${LISTENER_PORT} --bind 0.0.0.0 --protected-mode no --appendonly yes --appendfsync always`;

/** What starts the counter's server in a guest. */
export const counterServer = `mkdir -p /data/counter && ${server} --dir /data/counter --save '' --daemonize yes`;

/** The counter's server in a container that has its data in the volume /data. */
export const counterCommand: readonly string[] = [...server.split(" "), "--dir", "/data", "--save", ""];

export const counterPort = (hostPort: number): string => `${hostPort}:${LISTENER_PORT}`;

/** Asks over the wire, not through the guest's agent, which has other things to do while the guest is frozen. */
export async function openCounter(hostPort: number): Promise<Counter> {
  const socket = connect(hostPort, "127.0.0.1");
  await once(socket, "connect");
  const ask = async (command: string): Promise<string> => {
    socket.write(`${command}\r\n`);
    return await answer(socket);
  };
  const ready = await ask("PING");
  if (ready !== "+PONG") throw new Error(`the counter answered ${ready}`);
  return {
    async write(value) {
      const text = await ask(`SET n ${value}`);
      if (text !== "+OK") throw new Error(`the counter answered ${text}`);
    },
    read: async () => Number((await ask("GET n")).split("\r\n")[1] ?? 0),
    close: () => socket.destroy(),
  };
}

async function answer(socket: Socket): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const lost = () => reject(new Error("the counter is gone"));
  let text = "";
  const take = (data: Buffer) => {
    text += data.toString("latin1");
    // A simple answer is one line; a number's text is two.
    const lines = text.startsWith("$") && !text.startsWith("$-1") ? 2 : 1;
    if (text.split("\r\n").length > lines) resolve(text.trimEnd());
  };
  socket.on("data", take);
  socket.once("close", lost);
  try {
    return await promise;
  } finally {
    socket.off("data", take);
    socket.off("close", lost);
  }
}

export interface Load extends AsyncDisposable {
  /** The last number that both have acknowledged. */
  readonly last: number;
}

/** Writes n to the first, then to the second, and only then n + 1, as fast as they answer, until it is ended. */
export function startLoad([first, second]: readonly [Counter, Counter]): Load {
  let last = 0;
  let stopped = false;
  const run = async () => {
    while (!stopped) {
      await first.write(last + 1);
      await second.write(last + 1);
      last++;
    }
  };
  const running = run();
  running.catch(() => undefined);
  return {
    get last() {
      return last;
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await running;
    },
  };
}
