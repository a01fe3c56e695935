import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { FenceOrder, FenceWord } from "./fence-protocol.ts";

const HELLO_MS = 3_000;

type Hello = Extract<FenceWord, { readonly guardPid: number }>;

/** A connection to the fence guard. */
export class FenceLink {
  readonly #socket: Socket;
  readonly #hello = Promise.withResolvers<Hello>();
  #listener: (word: FenceWord) => void = () => undefined;
  /** Resolves when the guard is gone, or has another agent. */
  readonly closed: Promise<void>;
  guardPid: number | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#hello.promise.catch(() => undefined);
    socket.on("error", () => undefined); // "close" follows
    socket.once("close", () => {
      this.#hello.reject(new Error("the fence guard has closed the connection"));
      resolve();
    });
    createInterface(socket)
      .on("line", (line) => this.#take(line))
      .on("error", () => undefined); // the socket's, once more
  }

  /** Waits for the guard's first word; those after it go to `listener`. Fails when none comes in time. */
  async meet(listener: (word: FenceWord) => void): Promise<Hello> {
    this.#listener = listener;
    using timer = new AbortTimer(HELLO_MS);
    return await Promise.race([this.#hello.promise, timer.passed]);
  }

  send(order: FenceOrder): void {
    this.#socket.write(`${JSON.stringify(order)}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    const word = JSON.parse(line) as FenceWord;
    if ("guardPid" in word) {
      this.guardPid = word.guardPid;
      this.#hello.resolve(word);
    } else {
      this.#listener(word);
    }
  }
}

class AbortTimer {
  readonly #controller = new AbortController();
  readonly passed: Promise<never>;

  constructor(ms: number) {
    this.passed = delay(ms, undefined, this.#controller).then(() => {
      throw new Error(`the fence guard did not answer in ${ms} ms`);
    });
    this.passed.catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}
