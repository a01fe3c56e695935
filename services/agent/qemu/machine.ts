import type { Machine, MachineEnd, MachineLayers, MachineMemory, MachineState } from "../ports.ts";
import { QemuLayers } from "./block-graph.ts";
import type { GuestAgentChannel } from "./guest-agent.ts";
import { QemuMemory } from "./memory.ts";
import { killAndWait, type ProcessIdentity, waitGone } from "./process.ts";
import type { Qmp, QmpEvent } from "./qmp.ts";

const AGENT_PORT = "agent-port";
const STOP_MS = 10_000;

interface Chardev {
  readonly label: string;
  readonly "frontend-open": boolean;
}

export interface QemuMachineParts {
  readonly qmp: Qmp;
  readonly guest: GuestAgentChannel;
  readonly identity: ProcessIdentity;
  readonly startTime: Date;
  readonly root: string;
  readonly backgroundSnapshot: boolean;
}

/** One running QEMU, over QMP. */
export class QemuMachine implements Machine {
  readonly pid: number;
  readonly startTime: Date;
  readonly guest: GuestAgentChannel;
  readonly ended: Promise<MachineEnd>;
  readonly layers: MachineLayers;
  readonly memory: MachineMemory;
  readonly #qmp: Qmp;
  readonly #identity: ProcessIdentity;
  #released = false;
  #end: MachineEnd = { orderly: false, reason: "QEMU ended by itself" };

  constructor({ qmp, guest, identity, startTime, root, backgroundSnapshot }: QemuMachineParts) {
    this.#qmp = qmp;
    this.#identity = identity;
    this.pid = identity.pid;
    this.startTime = startTime;
    this.guest = guest;
    this.layers = new QemuLayers(qmp, root);
    this.memory = new QemuMemory(qmp, () => this.state(), backgroundSnapshot);
    qmp.onEvent((event) => this.#notice(event));
    this.ended = this.#whenGone();
  }

  async state(): Promise<MachineState> {
    const { status } = await this.#qmp.run<{ status: string }>("query-status");
    if (status === "running") return "running";
    if (status === "shutdown") return "shutdown";
    if (status === "inmigrate") return "incoming";
    if (status === "postmigrate" || status === "finish-migrate") return "migrated";
    return "paused";
  }

  async pause(): Promise<number | undefined> {
    if ((await this.state()) !== "running") return undefined;
    const stopped = this.#qmp.nextEvent(({ event }) => event === "STOP", STOP_MS);
    await this.#qmp.run("stop");
    return (await stopped).atMs;
  }

  async resume(): Promise<void> {
    await this.#qmp.run("cont");
  }

  async powerButton(): Promise<void> {
    await this.#qmp.run("system_powerdown");
  }

  async reset(): Promise<void> {
    await this.#qmp.run("system_reset");
  }

  async end(): Promise<void> {
    this.#end = { orderly: true, reason: "ended by the agent" };
    await killAndWait(this.#identity);
    await this.ended;
  }

  release(): void {
    this.#released = true;
    this.guest.close();
    this.#qmp.close();
  }

  async guestIsListening(): Promise<boolean> {
    const chardevs = await this.#qmp.run<Chardev[]>("query-chardev");
    return chardevs.find(({ label }) => label === "agent")?.["frontend-open"] ?? false;
  }

  onGuestListening(listener: (open: boolean) => void): void {
    this.#qmp.onEvent(({ event, data }) => {
      if (event === "VSERPORT_CHANGE" && data.id === AGENT_PORT) listener(data.open === true);
    });
  }

  onResume(listener: () => void): void {
    this.#qmp.onEvent(({ event }) => {
      if (event === "RESUME") listener();
    });
  }

  async isStarved(): Promise<boolean> {
    return (await this.#qmp.run<{ status: string }>("query-status")).status === "io-error";
  }

  onStarved(listener: () => void): void {
    // QEMU stops with its own STOP event; the state says why (`werror=enospc`, its default).
    this.#qmp.onEvent(({ event }) => {
      if (event === "STOP") listener();
    });
  }

  async endAfterShutdown(): Promise<void> {
    this.#noteEnd("shut down");
    await this.#qmp.run("quit").catch(() => undefined);
  }

  /** After a guest's shutdown QEMU waits (`-action shutdown=pause`) until the agent has seen it. */
  #notice({ event, data }: QmpEvent): void {
    if (event !== "SHUTDOWN" || this.#end.orderly) return;
    this.#noteEnd(`shut down (${String(data.reason)})`);
    if (data.guest === true) void this.endAfterShutdown();
  }

  #noteEnd(reason: string): void {
    if (!this.#end.orderly) this.#end = { orderly: true, reason };
  }

  async #whenGone(): Promise<MachineEnd> {
    await this.#qmp.closed;
    // Of a machine that was let go nobody wants to know.
    if (this.#released) return await new Promise(() => undefined);
    await waitGone(this.#identity);
    this.guest.close();
    return this.#end;
  }
}
