import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { StillpointError } from "#libs/errors";
import { connectUnix } from "./socket.ts";

/** The agent answered, and its answer was an error; the message is its own. */
export class GuestAgentError extends Error {
  override readonly name = "GuestAgentError";
}

interface GuestAnswer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

/**
 * One call to the guest's agent.
 * @throws GuestAgentError when the agent says no
 * @throws StillpointError GUEST_AGENT_FAILED when it does not answer in time; the command may still be carried out
 */
export type GuestCall = <Result = unknown>(command: string, args?: object, timeoutMs?: number) => Promise<Result>;

const CALL_MS = 5_000;
const SENTINEL = 0xff;
const NEWLINE = 10;
const SYNC_MS = 3_000;
/** Longer than any answer: qemu-ga gives at most 16 MiB of a command's output, in base64, twice. */
const LONGEST_ANSWER_BYTES = 64 * 2 ** 20;

/**
 * qemu-ga's protocol on a VM's agent.sock: one call at a time, each with a deadline. The channel is synchronised with
 * 0xFF and guest-sync-delimited at first and after each time-out, as the answer to an abandoned call may still come
 * (qemu-ga protocol, "guest-sync-delimited").
 */
export class GuestAgentChannel {
  readonly #path: string;
  #socket: Socket | undefined;
  /** Of a line whose end has not come yet. */
  #pieces: Buffer[] = [];
  #length = 0;
  #waiting: ((line: Buffer) => void) | undefined;
  #failWaiting: ((error: Error) => void) | undefined;
  #synced = false;
  #closed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  readonly call: GuestCall = <Result>(command: string, args?: object, timeoutMs?: number) =>
    this.turn((call) => call<Result>(command, args, timeoutMs));

  /** Several calls with nobody else's between them, such as opening, reading and closing a file. */
  turn<Result>(use: (call: GuestCall) => Promise<Result>): Promise<Result> {
    const call: GuestCall = <Answer>(command: string, args?: object, timeoutMs = CALL_MS) =>
      this.#call(command, args, timeoutMs) as Promise<Answer>;
    const turn = this.#last.then(() => use(call));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** The machine is gone. */
  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    this.#lost();
  }

  async #call(command: string, args: object | undefined, timeoutMs: number): Promise<unknown> {
    if (!this.#synced) await this.#sync(Math.min(timeoutMs, SYNC_MS));
    const line = JSON.stringify({ execute: command, ...(args && { arguments: args }) });
    const answer = await this.#exchange(Buffer.from(`${line}\n`), timeoutMs, command, () => true);
    if (answer.error !== undefined) throw new GuestAgentError(answer.error.desc);
    return answer.return;
  }

  async #sync(timeoutMs: number): Promise<void> {
    await this.#connect();
    const id = randomInt(2 ** 31);
    const call = JSON.stringify({ execute: "guest-sync-delimited", arguments: { id } });
    const bytes = Buffer.concat([Buffer.from([SENTINEL]), Buffer.from(`${call}\n`)]);
    await this.#exchange(bytes, timeoutMs, "guest-sync-delimited", (answer) => answer.return === id);
    this.#synced = true;
  }

  async #exchange(bytes: Buffer, timeoutMs: number, what: string, fits: (answer: GuestAnswer) => boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<GuestAnswer>();
    const timer = setTimeout(() => reject(silent(what, timeoutMs)), timeoutMs);
    this.#failWaiting = reject;
    this.#waiting = (line) => {
      const answer = parse(line);
      if (answer !== undefined && fits(answer)) resolve(answer);
    };
    this.#socket?.write(bytes);
    try {
      return await promise;
    } catch (error) {
      this.#synced = false;
      throw error;
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
      this.#failWaiting = undefined;
    }
  }

  async #connect(): Promise<void> {
    if (this.#socket !== undefined) return;
    const socket = await connectUnix(this.#path).catch((cause: unknown) => {
      throw new StillpointError("GUEST_AGENT_ABSENT", "the VM's agent channel is not there", { cause });
    });
    this.#socket = socket;
    socket.unref();
    socket.on("data", (data: Buffer) => this.#take(data));
    socket.on("error", () => undefined); // "close" follows
    socket.once("close", () => this.#socket === socket && this.#lost());
  }

  #take(data: Buffer): void {
    this.#pieces.push(data);
    this.#length += data.length;
    // What a guest sends must not fill the host's memory.
    if (this.#length > LONGEST_ANSWER_BYTES) this.#socket?.destroy();
    if (!data.includes(NEWLINE)) return;
    let rest: Buffer = Buffer.concat(this.#pieces);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const line = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      this.#waiting?.(line.subarray(line.lastIndexOf(SENTINEL) + 1));
    }
    this.#pieces = [rest];
    this.#length = rest.length;
  }

  #lost(): void {
    this.#socket = undefined;
    this.#synced = false;
    this.#pieces = [];
    this.#length = 0;
    this.#failWaiting?.(new StillpointError("GUEST_AGENT_FAILED", "the connection to the guest agent was lost"));
  }
}

function silent(command: string, timeoutMs: number): StillpointError {
  return new StillpointError("GUEST_AGENT_FAILED", `the guest agent did not answer ${command} in ${timeoutMs} ms`);
}

/** What a confused channel holds may be anything: a line that is no JSON is skipped. */
function parse(line: Buffer): GuestAnswer | undefined {
  try {
    return JSON.parse(line.toString("utf8")) as GuestAnswer;
  } catch {
    return undefined;
  }
}
