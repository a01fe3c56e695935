import { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/** An event as QMP sends it. */
export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970 on QEMU's clock, with a fraction. */
  readonly atMs: number;
}

interface QmpMessage {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Record<string, unknown>;
  readonly timestamp?: { readonly seconds: number; readonly microseconds: number };
}

/** QEMU refused a command; the message is its own. */
export class QmpError extends Error {
  override readonly name = "QmpError";
}

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const ANSWER_MS = 30_000;

/** QEMU's machine protocol on a connected socket (docs/interop/qmp-spec.txt). Commands may overlap; QEMU answers in order. */
export class Qmp {
  readonly #socket: Socket;
  readonly #calls = new Map<number, Call>();
  readonly #events = new EventEmitter<{ event: [QmpEvent] }>().setMaxListeners(0);
  readonly #closed = Promise.withResolvers<void>();
  readonly #greeted = Promise.withResolvers<void>();
  #lastId = 0;
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("error", () => undefined); // "close" follows
    socket.once("close", () => this.#end());
    let rest = "";
    socket.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") this.#take(JSON.parse(line) as QmpMessage);
    });
  }

  /** Waits for the greeting and leaves negotiation mode. */
  static async open(socket: Socket): Promise<Qmp> {
    const qmp = new Qmp(socket);
    await qmp.#greeted.promise;
    await qmp.run("qmp_capabilities");
    return qmp;
  }

  /** Resolves when the connection has ended, normally because QEMU has. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Runs one command. @throws QmpError when QEMU refuses it, or is gone, or does not answer in time */
  async run<Result = unknown>(command: string, args?: object, timeoutMs = ANSWER_MS): Promise<Result> {
    if (this.#isClosed) throw new QmpError(`${command}: QEMU is gone`);
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#calls.set(id, { resolve, reject });
    const timer = setTimeout(
      () => reject(new QmpError(`${command}: QEMU did not answer in ${timeoutMs} ms`)),
      timeoutMs,
    );
    this.#socket.write(`${JSON.stringify({ execute: command, ...(args && { arguments: args }), id })}\n`);
    try {
      return (await promise) as Result;
    } finally {
      clearTimeout(timer);
      this.#calls.delete(id);
    }
  }

  /** Calls `listener` for each event until the answered function is called. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#events.on("event", listener);
    return () => this.#events.off("event", listener);
  }

  /**
   * The next event that fits. Listens from the moment of the call: ask before the command that causes it.
   * @throws QmpError after `timeoutMs`, or when QEMU ends
   */
  async nextEvent(fits: (event: QmpEvent) => boolean, timeoutMs: number): Promise<QmpEvent> {
    const { promise, resolve, reject } = Promise.withResolvers<QmpEvent>();
    const stop = this.onEvent((event) => fits(event) && resolve(event));
    const timer = setTimeout(() => reject(new QmpError(`no such event from QEMU in ${timeoutMs} ms`)), timeoutMs);
    void this.closed.then(() => reject(new QmpError("QEMU is gone")));
    promise.catch(() => undefined); // may be awaited late
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(message: QmpMessage): void {
    if (message.QMP !== undefined) this.#greeted.resolve();
    else if (message.event !== undefined) this.#publish(message.event, message);
    else this.#answer(message);
  }

  #answer(message: QmpMessage): void {
    const call = this.#calls.get(message.id ?? 0);
    if (message.error === undefined) call?.resolve(message.return);
    else call?.reject(new QmpError(message.error.desc));
  }

  #publish(event: string, { data = {}, timestamp }: QmpMessage): void {
    const { seconds = 0, microseconds = 0 } = timestamp ?? {};
    this.#events.emit("event", { event, data, atMs: seconds * 1000 + microseconds / 1000 });
  }

  #end(): void {
    this.#isClosed = true;
    const gone = new QmpError("QEMU closed the connection");
    this.#greeted.promise.catch(() => undefined);
    this.#greeted.reject(gone);
    for (const call of this.#calls.values()) call.reject(gone);
    this.#closed.resolve();
  }
}
