import { failpoint } from "#libs/failpoints";
import type { EventTimes, MachineMemory, MachineState, MemoryObstacles, SavedMemory } from "../ports.ts";
import { type Qmp, QmpError, type QmpEvent } from "./qmp.ts";

/** QEMU stops by itself at 128 MiB/s otherwise (qapi/migration.json, max-bandwidth). */
const UNLIMITED_BANDWIDTH = 64 * 2 ** 30;
const SAVE_MS = 3_600_000;
const EVENT_MS = 30_000;

/** RAM of a running QEMU, over its migration commands. */
export class QemuMemory implements MachineMemory {
  readonly #qmp: Qmp;
  readonly #state: () => Promise<MachineState>;
  #backgroundSnapshot: boolean;

  /** @param backgroundSnapshot whether the host's probe found it; it is tried only then */
  constructor(qmp: Qmp, state: () => Promise<MachineState>, backgroundSnapshot: boolean) {
    this.#qmp = qmp;
    this.#state = state;
    this.#backgroundSnapshot = backgroundSnapshot;
  }

  async save(path: string, freezeDisks: () => Promise<void>): Promise<SavedMemory> {
    await this.#untilQuiet();
    const wasRunning = (await this.#state()) === "running";
    const timeline = new Timeline(this.#qmp);
    await this.#qmp.run("migrate-set-parameters", { "max-bandwidth": UNLIMITED_BANDWIDTH });
    const method = (await this.#prepareBackground()) ? "background-snapshot" : "pre-copy";
    try {
      if (method === "pre-copy") await this.#preCopy(path, freezeDisks, wasRunning);
      else await this.#background(path, freezeDisks, wasRunning).catch(this.#forgetBackground);
      return { method, ...timeline.spans(wasRunning), times: timeline.times };
    } catch (error) {
      await this.#goOn(wasRunning);
      throw error;
    } finally {
      timeline.close();
    }
  }

  async obstacles(): Promise<MemoryObstacles> {
    const migration = await this.#qmp.run<{ "blocked-reasons"?: string[] }>("query-migrate");
    const backends = await this.#qmp.run<{ share: boolean }[]>("query-memdev");
    const blocked = migration["blocked-reasons"] ?? [];
    if (!this.#backgroundSnapshot) return { blocked, slow: "the host's kernel does not write-protect RAM for QEMU" };
    return { blocked, slow: backends.some(({ share }) => share) ? "the VM's RAM is shared with another process" : "" };
  }

  async load(path: string, send: (path: string) => Promise<void>): Promise<void> {
    await this.#capabilities({ events: true, "background-snapshot": false });
    const done = this.#outcome(EVENT_MS);
    done.catch(() => undefined);
    await this.#qmp.run("migrate-incoming", { uri: `unix:${path}` });
    let sendFailure: unknown;
    // QEMU closes as soon as it has all that it needs: that it has loaded is the only proof that counts.
    send(path).catch((error: unknown) => {
      sendFailure = error;
    });
    await done.catch((error: unknown) => {
      throw new QmpError(error instanceof Error ? error.message : String(error), { cause: sendFailure ?? error });
    });
  }

  /** QEMU refuses it where the RAM is shared or the kernel has been set up otherwise since the probe. */
  async #prepareBackground(): Promise<boolean> {
    try {
      await this.#capabilities({ events: true, "background-snapshot": this.#backgroundSnapshot });
      if (!this.#backgroundSnapshot) return false;
      return true;
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      await this.#capabilities({ events: true, "background-snapshot": false });
      return false;
    }
  }

  /** The guest stands from our `stop` until QEMU resumes it by itself, with its RAM protected against writes. */
  async #background(path: string, freezeDisks: () => Promise<void>, wasRunning: boolean): Promise<void> {
    const resumed = this.#qmp.nextEvent(({ event }) => event === "RESUME", EVENT_MS);
    const done = this.#outcome(SAVE_MS);
    for (const promise of [resumed, done]) promise.catch(() => undefined);
    if (wasRunning) await this.#qmp.run("stop");
    await freezeDisks();
    await this.#qmp.run("migrate", { uri: `unix:${path}` });
    await Promise.race([resumed, done]); // a migration that fails before the start resumes nothing
    await failpoint("agent.take-standard.resumed");
    if (!wasRunning) await this.#standAgain();
    await done;
  }

  /** Once one has failed on its way, no other works in this QEMU: its RAM stays registered. The next is a pre-copy. */
  readonly #forgetBackground = (error: unknown): never => {
    this.#backgroundSnapshot = false;
    throw error;
  };

  /** QEMU copies RAM while the guest runs, stops it for the rest, and leaves it standing for us to take the disks. */
  async #preCopy(path: string, freezeDisks: () => Promise<void>, wasRunning: boolean): Promise<void> {
    const done = this.#outcome(SAVE_MS);
    done.catch(() => undefined);
    await this.#qmp.run("migrate", { uri: `unix:${path}` });
    await done;
    await freezeDisks();
    if (wasRunning) await this.#qmp.run("cont");
  }

  async #standAgain(): Promise<void> {
    const stopped = this.#qmp.nextEvent(({ event }) => event === "STOP", EVENT_MS);
    await this.#qmp.run("stop");
    await stopped;
  }

  /** After a failure: nothing more is sent, and a machine that ran runs. */
  async #goOn(wasRunning: boolean): Promise<void> {
    await this.#untilQuiet();
    if (wasRunning && (await this.#state()) !== "running") await this.#qmp.run("cont");
  }

  /** One that is under way, perhaps for an agent that is dead, is let come to its end: cut off, it harms the guest. */
  async #untilQuiet(): Promise<void> {
    const isActive = async () => {
      const { status } = await this.#qmp.run<{ status?: string }>("query-migrate");
      return status === "active" || status === "setup";
    };
    if (!(await isActive())) return;
    const over = this.#outcome(SAVE_MS).catch(() => undefined);
    if (await isActive()) await over;
  }

  async #outcome(timeoutMs: number): Promise<void> {
    const over = ["completed", "failed", "cancelled"];
    const { data } = await this.#qmp.nextEvent(
      ({ event, data }) => event === "MIGRATION" && over.includes(String(data.status)),
      timeoutMs,
    );
    if (data.status === "completed") return;
    const info = await this.#qmp.run<{ "error-desc"?: string }>("query-migrate").catch(() => undefined);
    throw new QmpError(info?.["error-desc"] ?? `moving RAM ${String(data.status)}`);
  }

  async #capabilities(states: Record<string, boolean>): Promise<void> {
    const capabilities = Object.entries(states).map(([capability, state]) => ({ capability, state }));
    await this.#qmp.run("migrate-set-capabilities", { capabilities });
  }
}

/** The times at which the machine stopped and went on, from QEMU's own events. */
class Timeline {
  readonly #events: QmpEvent[] = [];
  readonly #stop: () => void;

  constructor(qmp: Qmp) {
    this.#stop = qmp.onEvent((event) => {
      if (["STOP", "RESUME"].includes(event.event)) this.#events.push(event);
    });
  }

  close(): void {
    this.#stop();
  }

  get times(): EventTimes {
    return Object.fromEntries(this.#events.map(({ event, atMs }) => [event.toLowerCase(), atMs]));
  }

  /** A machine that ran stood between STOP and RESUME; one that stood ran between RESUME and STOP. */
  spans(wasRunning: boolean): { pauseMs: number; ranMs: number } {
    const { stop = 0, resume = 0 } = this.times;
    return wasRunning ? { pauseMs: resume - stop, ranMs: 0 } : { pauseMs: 0, ranMs: Math.max(0, stop - resume) };
  }
}
