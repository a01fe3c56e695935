import { chmod, chown, mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { Fence } from "../lease/fence.ts";
import type { Hypervisor, Machine, MachineSpec } from "../ports.ts";
import { commandLine, type Platform } from "./command-line.ts";
import { GuestAgentChannel } from "./guest-agent.ts";
import { QemuMachine } from "./machine.ts";
import type { QemuFacts } from "./probe.ts";
import {
  findProcess,
  isAlive,
  killAndWait,
  type ProcessIdentity,
  parentOf,
  qemuEnvironment,
  spawnDetached,
  startTimeOf,
} from "./process.ts";
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
  readonly #fence: Fence;

  constructor({ version, platform, backgroundSnapshot }: QemuFacts, fence: Fence) {
    this.version = version;
    this.#fence = fence;
    this.#backgroundSnapshot = backgroundSnapshot;
    this.accelerator = platform.accelerator;
    this.cpu = platform.cpu;
    this.#platform = platform;
  }

  async start(spec: MachineSpec, { incoming }: { incoming: boolean }): Promise<Machine> {
    await makeReady(spec);
    const log = join(spec.root, "qemu.log");
    const child = await this.#spawn(spec, commandLine(spec, this.#platform, incoming), log);
    try {
      const machine = await this.#connect(child, spec.root);
      if (spec.fenced) await this.#letRun(machine, child, incoming);
      const state = await machine.state();
      if (state === "running" || (incoming && state === "incoming")) return machine;
      throw new Error(`QEMU came up ${state}`);
    } catch (cause) {
      await killAndWait(child);
      throw new StillpointError("QEMU_FAILED", `QEMU did not start: ${await lastWords(log)}`, { cause });
    }
  }

  async adopt({ uid, root, fenced }: Pick<MachineSpec, "uid" | "root" | "fenced">): Promise<Machine | undefined> {
    const identity = await findProcess(PROGRAM, `guest=${uid},debug-threads=on`, root);
    if (identity === undefined) return undefined;
    if (fenced && !this.#isFenced(await parentOf(identity))) {
      await killAndWait(identity);
      return undefined;
    }
    return await this.#connect(identity, root);
  }

  /** One that is to be fenced waits for `letRun` before its guest does anything. */
  async #spawn({ uid, root, processUid, fenced }: MachineSpec, args: readonly string[], log: string) {
    if (!fenced) return await spawnDetached({ program: PROGRAM, args, cwd: root, log, uid: processUid });
    const command = { program: PROGRAM, args: [...args, "-S"], cwd: root, env: qemuEnvironment(), log };
    return await this.#fence.start({ uid, ...command, user: processUid });
  }

  /**
   * QEMU answers, so it has been marked to die with its parent; if the guard is that still, it is safe. Had the guard
   * died before the mark, nobody would end it.
   */
  async #letRun(machine: Machine, child: ProcessIdentity, incoming: boolean): Promise<void> {
    if (!this.#isFenced(await parentOf(child))) throw new Error("the fence guard has ended");
    if (!incoming) await machine.resume();
  }

  #isFenced(parentPid: number): boolean {
    return parentPid !== 0 && parentPid === this.#fence.guardPid;
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
