import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { StillpointError } from "#libs/errors";

export interface EmbeddedServerOptions {
  readonly argv: readonly [string, ...string[]];
  readonly port: number;
  readonly folder: string;
  readonly logFile: string;
}

const startMs = 20_000;
const stopMs = 5_000;
const againMs = 250;

/**
 * A server of ours on 127.0.0.1, started again when it dies. It is ended with SIGTERM, and the kernel kills it when
 * this process dies, so that a crash leaves no server on a folder that the next start wants.
 */
export class EmbeddedServer {
  readonly #options: EmbeddedServerOptions;
  #child: ChildProcess;
  #closing = false;

  private constructor(options: EmbeddedServerOptions, child: ChildProcess) {
    this.#options = options;
    this.#child = child;
    this.#watch();
  }

  /** Gives it when it accepts connections. Fails with the end of its log when it does not. */
  static async start(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
    const child = await launch(options);
    await untilListening(options, child);
    return new EmbeddedServer(options, child);
  }

  async close(): Promise<void> {
    this.#closing = true;
    const child = this.#child;
    if (hasEnded(child)) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    const force = setTimeout(() => child.kill("SIGKILL"), stopMs);
    await exited;
    clearTimeout(force);
  }

  #watch(): void {
    this.#child.once("exit", () => {
      if (!this.#closing) void this.#again();
    });
  }

  async #again(): Promise<void> {
    await sleep(againMs);
    if (this.#closing) return;
    this.#child = await launch(this.#options);
    this.#watch();
  }
}

async function launch({ argv, folder, logFile }: EmbeddedServerOptions): Promise<ChildProcess> {
  const log = await open(logFile, "a", 0o600);
  try {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...argv], {
      cwd: folder,
      stdio: ["ignore", log.fd, log.fd],
      // Out of reach of the terminal's Ctrl-C: services still need it while they close.
      detached: true,
    });
    // Without a listener a failed spawn would end this process; it shows as an exit code all the same.
    child.once("error", () => child.emit("exit", 127, null));
    return child;
  } finally {
    await log.close();
  }
}

async function untilListening({ argv, port, logFile }: EmbeddedServerOptions, child: ChildProcess): Promise<void> {
  const end = performance.now() + startMs;
  while (!(await accepts(port))) {
    if (hasEnded(child) || performance.now() > end) {
      child.kill("SIGKILL");
      const log = await readFile(logFile, "utf8");
      throw new StillpointError(
        "UNAVAILABLE",
        `${argv[0]} did not start: ${log.trim().split("\n").slice(-3).join(" ")}`,
        {
          help: `Look at ${logFile}; is ${argv[0]} installed?`,
          metadata: { requestId: "local" },
        },
      );
    }
    await sleep(20);
  }
}

const hasEnded = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
