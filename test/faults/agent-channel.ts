import { rename, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectUnix } from "../../services/agent/qemu/socket.ts";
import { type QemuProcess, socketPath } from "../harness/qemu-process.ts";

/** What becomes of the guest's reply to a command: the lines that the host gets instead. */
export type Misbehaviour = (command: string, reply: string) => readonly string[] | Promise<readonly string[]>;

const faithful: Misbehaviour = (_command, reply) => [reply];

/** Stands between a host's agent and the guest's, on the VM's own socket, and passes everything until told otherwise. */
export class AgentChannel implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: string;
  readonly #behind: string;
  readonly #sockets = new Set<Socket>();
  #behaviour = faithful;

  private constructor(path: string, behind: string) {
    this.#path = path;
    this.#behind = behind;
    this.#server = createServer((client) => void this.#serve(client));
  }

  /** Who is connected already stays so: the agent has to begin again before it comes this way. */
  static async interpose(qemu: QemuProcess): Promise<AgentChannel> {
    const path = socketPath(qemu, "agent.sock");
    const behind = `${path}.guest`;
    await rename(path, behind);
    const channel = new AgentChannel(path, behind);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A path of a VM may be too long for listen(2): made elsewhere and put there.
    const made = join(tmpdir(), `channel-${crypto.randomUUID().slice(0, 8)}.sock`);
    channel.#server.once("error", reject).listen(made, resolve);
    await promise;
    await rename(made, path);
    return channel;
  }

  /** Replies are passed through this from now on. */
  misbehave(behaviour: Misbehaviour): Disposable {
    this.#behaviour = behaviour;
    return { [Symbol.dispose]: () => this.#setFaithful() };
  }

  #setFaithful(): void {
    this.#behaviour = faithful;
  }

  async #serve(client: Socket): Promise<void> {
    this.#sockets.add(client);
    client.on("error", () => undefined);
    const guest = await connectUnix(this.#behind).catch(() => undefined);
    if (guest === undefined) return void client.destroy();
    guest.on("error", () => undefined);
    client.once("close", () => guest.destroy());
    guest.once("close", () => client.destroy());
    const asked: string[] = [];
    onLines(client, (line) => {
      const command = /"execute":"([^"]+)"/.exec(line)?.[1];
      if (command !== undefined) asked.push(command);
      guest.write(`${line}\n`, "latin1");
    });
    let turn = Promise.resolve();
    onLines(guest, (line) => {
      const command = asked.shift() ?? "";
      turn = turn.then(async () => {
        for (const reply of await this.#behaviour(command, line)) client.write(`${reply}\n`, "latin1");
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await rm(this.#path, { force: true });
  }
}

/** Bytes as latin1: the channel's 0xFF passes unharmed. */
function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text: Buffer | string) => {
    const lines = (rest + text.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}
