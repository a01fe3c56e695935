import { chmod, chown, mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { Hypervisor, Machine, MachineSpec } from "../ports.ts";
import { commandLine, type Platform } from "./command-line.ts";
import { GuestAgentChannel } from "./guest-agent.ts";
import { QemuMachine } from "./machine.ts";
import type { QemuFacts } from "./probe.ts";
import { findProcess, isAlive, killAndWait, type ProcessIdentity, spawnDetached, startTimeOf } from "./process.ts";
import { Qmp } from "./qmp.ts";
import { connectUnix } from "./socket.ts";

const PROGRAM = "qemu-system-x86_64";
const CONNECT_MS = 20_000;
const RETRY_MS = 2;

/** QEMU as the hypervisor. */
export class QemuHypervisor implements Hypervisor {
  readonly version: string;
  readonly machineType = "pc-q35-7.2";
  readonly accelerator: string;
  readonly cpu: string;
  readonly #platform: Platform;
  readonly #backgroundSnapshot: boolean;

  constructor({ version, platform, backgroundSnapshot }: QemuFacts) {
    this.version = version;
    this.#backgroundSnapshot = backgroundSnapshot;
    this.accelerator = platform.accelerator;
    this.cpu = platform.cpu;
    this.#platform = platform;
  }

  async start(spec: MachineSpec, { incoming }: { incoming: boolean }): Promise<Machine> {
    await makeReady(spec);
    const args = commandLine(spec, this.#platform, incoming);
    const log = join(spec.root, "qemu.log");
    const child = await spawnDetached({ program: PROGRAM, args, cwd: spec.root, log, uid: spec.processUid });
    try {
      const machine = await this.#connect(child, spec.root);
      const state = await machine.state();
      if (state === "running" || (incoming && state === "incoming")) return machine;
      throw new Error(`QEMU came up ${state}`);
    } catch (cause) {
      await killAndWait(child);
      throw new StillpointError("QEMU_FAILED", `QEMU did not start: ${await lastWords(log)}`, { cause });
    }
  }

  async adopt({ uid, root }: Pick<MachineSpec, "uid" | "root">): Promise<Machine | undefined> {
    const identity = await findProcess(PROGRAM, `guest=${uid},debug-threads=on`);
    if (identity === undefined) return undefined;
    return await this.#connect(identity, root);
  }

  async #connect(identity: ProcessIdentity, root: string): Promise<Machine> {
    const qmp = await openQmp(identity, join(root, "run/qmp.sock"));
    return new QemuMachine({
      ...{ qmp, identity, root },
      guest: new GuestAgentChannel(join(root, "run/agent.sock")),
      startTime: await startTimeOf(identity),
      backgroundSnapshot: this.#backgroundSnapshot,
    });
  }
}

/** QEMU makes its socket soon after it was started. */
async function openQmp(identity: ProcessIdentity, socket: string): Promise<Qmp> {
  const giveUp = performance.now() + CONNECT_MS;
  for (;;) {
    try {
      const qmp = await Qmp.open(await connectUnix(socket));
      await chmod(socket, 0o600);
      return qmp;
    } catch (cause) {
      if (!(await isAlive(identity))) throw new Error("QEMU ended at once", { cause });
      if (performance.now() > giveUp) throw new Error("QEMU's control socket does not answer", { cause });
    }
    await delay(RETRY_MS);
  }
}

/** The files that QEMU makes or writes, with the rights of its own user; sockets of a former life removed. */
async function makeReady({ root, processUid }: MachineSpec): Promise<void> {
  const run = join(root, "run");
  const console = join(root, "console.log");
  await rm(run, { recursive: true, force: true });
  await mkdir(run, { mode: 0o700 });
  await (await open(console, "a", 0o600)).close();
  await chmod(console, 0o600);
  if (processUid === null) return;
  for (const path of [run, console]) await chown(path, processUid, processUid);
}

async function lastWords(log: string): Promise<string> {
  const lines = (await readFile(log, "utf8").catch(() => "")).trim().split("\n");
  return lines.at(-1)?.replace(/^\S+Z qemu-system-x86_64: /, "") || "it said nothing";
}
