import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type Dockerode from "dockerode";
import type { ExecCommand, ExecSession } from "../container-engine.ts";
import { askEngine, askUnless, engineError } from "./engine-error.ts";
import { readFrames } from "./frames.ts";

/** Begins a command in a running container. */
export async function startExec(docker: Dockerode, uid: string, command: ExecCommand): Promise<ExecSession> {
  const what = `running ${command.command[0] ?? "nothing"} in ${uid}`;
  const { terminal } = command;
  const Tty = terminal !== undefined;
  const exec = await askEngine(what, async () =>
    docker.getContainer(uid).exec({
      Cmd: [...command.command],
      Env: Object.entries(command.env).map(([key, value]) => `${key}=${value}`),
      User: command.user,
      WorkingDir: command.workingDir,
      AttachStdin: command.input,
      AttachStdout: true,
      AttachStderr: !Tty,
      Tty,
    }),
  );
  const stream = await askEngine(what, async () => exec.start({ hijack: true, stdin: command.input, Tty }));
  const session = new DockerExec(what, exec, stream, Tty);
  if (terminal !== undefined) await session.resize(terminal);
  return session;
}

const END_OF_TRANSMISSION = "\x04";
const REFUSED = /^(OCI runtime exec failed|unable to find (user|group) )/;
/** A process is there within 10 s. */
const BEGIN_LOOKS = 100;
const BEGIN_LOOK_MS = 100;
/** Milliseconds that a process may take until it stands. */
const STOP_LOOKS = 100;

class DockerExec implements ExecSession {
  readonly output: ExecSession["output"];
  readonly #what: string;
  readonly #exec: Dockerode.Exec;
  readonly #stream: Duplex;
  readonly #isTerminal: boolean;

  constructor(what: string, exec: Dockerode.Exec, stream: Duplex, isTerminal: boolean) {
    this.#what = what;
    this.#exec = exec;
    this.#stream = stream;
    this.#isTerminal = isTerminal;
    stream.on("error", () => undefined); // who reads the output hears of it
    this.output = this.#unlessRefused(isTerminal ? rawOutput(stream) : readFrames(stream));
  }

  /** Docker tells of a command that cannot begin in the place of its output. */
  async *#unlessRefused(output: ExecSession["output"]): ExecSession["output"] {
    let isFirst = true;
    for await (const piece of output) {
      const text = isFirst ? piece.bytes.toString("utf8").trim() : "";
      if (REFUSED.test(text) && !(await this.#hasBegun())) throw engineError(this.#what, new Error(text));
      isFirst = false;
      yield piece;
    }
  }

  async #hasBegun(): Promise<boolean> {
    const { Pid } = await askEngine(this.#what, async () => this.#exec.inspect());
    return Pid > 0;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#stream.writable && !this.#stream.write(bytes)) {
      await Promise.race([once(this.#stream, "drain"), once(this.#stream, "close")]);
    }
  }

  /** Docker lets go of a terminal whose input ends; the end-of-transmission character ends what reads from it. */
  closeInput(): void {
    if (this.#isTerminal) this.#stream.write(END_OF_TRANSMISSION);
    else this.#stream.end();
  }

  /** A command that has ended meanwhile has no terminal any more. */
  async resize({ rows, columns }: { readonly rows: number; readonly columns: number }): Promise<void> {
    if (rows <= 0 || columns <= 0) return;
    await askUnless([404, 409, 500], this.#what, async () => this.#exec.resize({ h: rows, w: columns }));
  }

  async exitCode(): Promise<number> {
    const { ExitCode } = await askEngine(this.#what, async () => this.#exec.inspect());
    return ExitCode ?? 0;
  }

  /** What it prints may come before Docker knows its process. */
  async #inspectBegun(): Promise<Dockerode.ExecInspectInfo> {
    for (let look = 0; ; look++) {
      const seen = await askEngine(this.#what, async () => this.#exec.inspect());
      if (!seen.Running || seen.Pid > 0 || look === BEGIN_LOOKS) return seen;
      await delay(BEGIN_LOOK_MS);
    }
  }

  /** Docker has no call for it: the process and its children are killed from the host, when they are the container's. */
  async end(): Promise<void> {
    try {
      const { Running, Pid, ContainerID } = await this.#inspectBegun();
      if (Running && Pid > 0) await killTree(Pid, ContainerID);
    } finally {
      this.#stream.destroy();
    }
  }
}

async function* rawOutput(stream: Duplex): ExecSession["output"] {
  for await (const bytes of stream) yield { stream: "stdout", bytes };
}

/** Each process is stopped before its children are looked for: it could begin another one meanwhile. */
async function killTree(pid: number, containerId: string): Promise<void> {
  const groups = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
  if (!groups.includes(containerId)) return;
  try {
    process.kill(pid, "SIGSTOP");
    await untilStopped(pid);
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    process.kill(pid, "SIGKILL");
    for (const child of children.split(" ").filter(Boolean)) await killTree(Number(child), containerId);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // else it has ended by itself
  }
}

/** It may be in the middle of a system call; gives up where it stays in one, or has ended. */
async function untilStopped(pid: number): Promise<void> {
  for (let look = 0; look < STOP_LOOKS; look++) {
    const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const state = status.slice(status.lastIndexOf(")") + 2, status.lastIndexOf(")") + 3);
    if (!["R", "S", "D"].includes(state)) return;
    await delay(1);
  }
}
