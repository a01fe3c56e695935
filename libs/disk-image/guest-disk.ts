import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { DiskFormat } from "./image-format.ts";
import { NbdConnection } from "./nbd-connection.ts";
import { filePath } from "./qemu-img.ts";

/** A disk as the guest sees it, through its whole chain; to be closed. */
export interface GuestDisk extends AsyncDisposable {
  /** @param offset a multiple of 512, as is `length`; both inside the disk */
  read(offset: number, length: number): Promise<Buffer>;
  /** Only on a disk that was opened for it. */
  write(offset: number, bytes: Buffer): Promise<void>;
  /** Makes what was written durable. */
  flush(): Promise<void>;
}

export interface OpenGuestDisk {
  /** Absolute. */
  readonly path: string;
  readonly format: DiskFormat;
  /** False when left out; then the disk may be in use by others who read it. */
  readonly writable?: boolean;
}

const ADDRESS_SPACE_BYTES = 4 * 2 ** 30;
const READY_MS = 30_000;
const RETRY_MS = 5;
/** Of folders in the temporary one, before the number of the process and a dash: each has a socket until it is connected to. */
const FOLDER_PREFIX = "stillpoint-nbd-";

/**
 * Opens a disk file through qemu-nbd, which ends with the last connection, and with this process.
 * @throws StillpointError INTERNAL with its own words when it cannot be opened
 */
export async function openGuestDisk({ path, format, writable = false }: OpenGuestDisk): Promise<GuestDisk> {
  const folder = await mkdtemp(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`));
  const socket = join(folder, "s");
  const mode = writable ? ["--cache=writeback", "--discard=unmap"] : ["--read-only"];
  const limits = [`--as=${ADDRESS_SPACE_BYTES}`, "--core=0", "--", "setpriv", "--pdeathsig=KILL", "--"];
  const nbd = ["qemu-nbd", ...mode, `--format=${format}`, `--socket=${socket}`, filePath(path)];
  const child = spawn("prlimit", [...limits, ...nbd], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    const connection = await connectTo(child, socket, path);
    return {
      read: (offset, length) => connection.read(offset, length),
      write: (offset, bytes) => connection.write(offset, bytes),
      flush: () => connection.flush(),
      async [Symbol.asyncDispose]() {
        await connection.close();
        await ended(child);
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    await ended(child);
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes what processes have left that were killed while they opened a disk. */
export async function removeDeadSockets(): Promise<void> {
  const names = await readdir(tmpdir());
  const left = names.filter((name) => name.startsWith(FOLDER_PREFIX) && !isRunning(ownerOf(name)));
  await Promise.all(left.map((name) => rm(join(tmpdir(), name), { recursive: true, force: true })));
}

const ownerOf = (name: string): number => Number.parseInt(name.slice(FOLDER_PREFIX.length), 10);

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

async function connectTo(child: ChildProcess, socket: string, path: string): Promise<NbdConnection> {
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said = `${said}${text}`.slice(-2_000)));
  let failed: Error | undefined;
  child.once("error", (error) => (failed = error));
  for (let waited = 0; waited < READY_MS; waited += RETRY_MS) {
    if (failed !== undefined || child.exitCode !== null || child.signalCode !== null) break;
    const connection = await NbdConnection.open(socket).catch(() => undefined);
    if (connection !== undefined) return connection;
    await sleep(RETRY_MS);
  }
  throw new StillpointError("INTERNAL", `${path} cannot be opened: ${said.trim() || "qemu-nbd does not answer"}`, {
    cause: failed,
    help: "Check that qemu-utils and util-linux are installed.",
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) await once(child, "exit");
}
