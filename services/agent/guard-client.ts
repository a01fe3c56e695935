import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { GuardOrder, GuardReply } from "./guard.ts";
import { leaveCgroup } from "./qemu/process.ts";

/** Sees to it that a frozen guest is thawed, whatever becomes of the agent. */
export interface FreezeGuard {
  /** Resolves when the guard knows of the freeze that is about to happen. @param id the workload's uid */
  arm(id: string, socket: string, windowMs: number): Promise<void>;
  /** The guest has been thawed. */
  disarm(id: string): void;
  /** The guest stands still as a whole, and is not thawed late for that: the window begins anew at `goOn`. */
  rest(id: string): void;
  goOn(id: string): void;
  /** Between arming and disarming: the guest is or may be frozen. */
  isArmed(id: string): boolean;
}

type GuardProcess = ChildProcessByStdio<Writable, Readable, null>;

const ARM_MS = 3_000;
const CLOSE_MS = 2_000;

/** The guard as a process of its own, which is started anew when it dies. */
export class GuardClient implements FreezeGuard {
  readonly #log: string;
  readonly #logger: Logger;
  readonly #armed = new Map<string, () => void>();
  readonly #leases = new Map<string, { readonly socket: string; readonly windowMs: number }>();
  #guard: GuardProcess | undefined;
  #closed = false;

  private constructor(log: string, logger: Logger) {
    this.#log = log;
    this.#logger = logger;
  }

  static async start(data: string, logger: Logger): Promise<GuardClient> {
    const client = new GuardClient(join(data, "guard.log"), logger);
    await client.#launch();
    return client;
  }

  get pid(): number | undefined {
    return this.#guard?.pid;
  }

  async arm(id: string, socket: string, windowMs: number): Promise<void> {
    this.#leases.set(id, { socket, windowMs });
    const guard = this.#guard ?? (await this.#launch());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const silent = new StillpointError("UNAVAILABLE", "the guard does not answer; no guest is frozen without it");
    const timer = setTimeout(() => reject(silent), ARM_MS);
    this.#armed.set(id, resolve);
    this.#tell(guard, { arm: id, socket, windowMs });
    try {
      await promise;
    } catch (error) {
      this.#leases.delete(id); // it is not frozen without the guard
      throw error;
    } finally {
      clearTimeout(timer);
      this.#armed.delete(id);
    }
  }

  isArmed(id: string): boolean {
    return this.#leases.has(id);
  }

  disarm(id: string): void {
    this.#leases.delete(id);
    this.rest(id);
  }

  goOn(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.arm(id, lease.socket, lease.windowMs).catch((error: unknown) => {
      this.#logger.error({ err: error, uid: id }, "the guard does not know of a guest that may be frozen");
    });
  }

  rest(id: string): void {
    if (this.#guard !== undefined) this.#tell(this.#guard, { disarm: id });
  }

  /** With its input at an end the guard thaws what is armed, normally nothing, and ends. */
  async close(): Promise<void> {
    this.#closed = true;
    const guard = this.#guard;
    if (guard === undefined) return;
    const ended = once(guard, "exit");
    guard.stdin.end();
    // One that has a guest to thaw goes on without us.
    const patience = new AbortController();
    await Promise.race([ended, delay(CLOSE_MS, undefined, patience)]);
    patience.abort();
  }

  async #launch(): Promise<GuardProcess> {
    await using log = await open(this.#log, "a", 0o600);
    const args = ["--max-old-space-size=32", join(import.meta.dirname, "guard.ts"), String(process.pid)];
    const options = { detached: true, cwd: "/", env: {}, stdio: ["pipe", "pipe", log.fd] } as const;
    // The types of spawn do not know that "pipe" beside a file descriptor gives streams.
    const guard = spawn(process.execPath, args, { ...options, stdio: [...options.stdio] }) as GuardProcess;
    guard.stdin.on("error", () => undefined); // "exit" follows
    createInterface(guard.stdout).on("line", (line) => this.#armed.get((JSON.parse(line) as GuardReply).armed)?.());
    guard.once("exit", () => this.#noteExit(guard));
    await once(guard, "spawn");
    await leaveCgroup(guard.pid ?? 0);
    guard.unref();
    this.#guard = guard;
    return guard;
  }

  #noteExit(guard: GuardProcess): void {
    if (this.#guard === guard) this.#guard = undefined;
    if (!this.#closed) this.#logger.warn("the guard has ended; it is started again before the next freeze");
  }

  #tell(guard: GuardProcess, order: GuardOrder): void {
    guard.stdin.write(`${JSON.stringify(order)}\n`);
  }
}
