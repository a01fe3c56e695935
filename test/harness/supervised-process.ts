import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { eventually } from "#libs/testing";

export interface Program {
  readonly argv: readonly string[];
  /** Added to this process's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A process that is started again whenever it dies, as systemd does it, until it is told to end. */
export class SupervisedProcess implements AsyncDisposable {
  readonly #start: () => ChildProcess;
  #child: ChildProcess;
  #wanted = true;
  #held = false;
  #deaths = 0;

  private constructor(start: () => ChildProcess) {
    this.#start = start;
    this.#child = this.#launch();
  }

  /** Starts `node SCRIPT`; what it prints is appended to `logPath`. */
  static start(script: string, env: Readonly<Record<string, string>>, logPath: string): SupervisedProcess {
    return SupervisedProcess.run(() => ({ argv: [process.execPath, script], env }), logPath);
  }

  /** Starts any program; what it is, is asked anew for each start. */
  static run(what: () => Program, logPath: string): SupervisedProcess {
    const log = openSync(logPath, "a", 0o600);
    return new SupervisedProcess(() => {
      const { argv, env = {} } = what();
      return spawn("setpriv", ["--pdeathsig", "KILL", ...argv], {
        stdio: ["ignore", log, log],
        env: { ...process.env, ...env },
      });
    });
  }

  /** How often it has died so far. */
  get deaths(): number {
    return this.#deaths;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits until it has died more often than `before`. */
  async untilDead(before: number, deadlineMs: number): Promise<void> {
    await eventually(() => this.#deaths > before, { deadlineMs });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** From its next death on it stays dead, until `release`. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    if (!this.isAlive) this.#child = this.#launch();
  }

  /** Tells it to end, for good. */
  end(): void {
    this.#wanted = false;
    this.#child.kill("SIGTERM");
    // One that was stopped heeds it only when it goes on.
    this.#child.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
    if (this.isAlive) await once(this.#child, "exit");
  }

  #launch(): ChildProcess {
    const child = this.#start();
    child.once("exit", () => {
      this.#deaths++;
      if (this.#wanted && !this.#held) this.#child = this.#launch();
    });
    return child;
  }
}
