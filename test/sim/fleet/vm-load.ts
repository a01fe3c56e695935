import { setTimeout as sleep } from "node:timers/promises";
import { isStillpointError } from "#libs/errors";
import type { Api } from "../../harness/api.ts";
import { emptyImage } from "../../harness/empty-image.ts";
import { untilDone } from "../../harness/vm-client.ts";

export interface VmLoadOptions {
  readonly api: Pick<Api, "vms" | "operations">;
  readonly vms: number;
  /** VMs that are asked for in a second, whether or not earlier ones are there; 0: as fast as `inFlight` allows. */
  readonly rate: number;
  /** Creations under way at most. */
  readonly inFlight: number;
  readonly say: (line: string) => void;
}

const gib = 2 ** 30;

/** Clients that have VMs made and started, and wait for each. */
export class VmLoad {
  /** From when each was due until its operation's end, in milliseconds. */
  readonly latencies: number[] = [];
  /** By reason, creations that failed. */
  readonly failures: Record<string, number> = {};
  readonly #options: VmLoadOptions;
  #next = 0;

  constructor(options: VmLoadOptions) {
    this.#options = options;
  }

  /** Gives how many seconds it took. */
  async run(): Promise<number> {
    const { vms, inFlight } = this.#options;
    const startedMs = performance.now();
    const client = async () => {
      while (this.#next < vms) await this.#one(this.#next++, startedMs);
    };
    await Promise.all(Array.from({ length: Math.min(inFlight, vms) }, client));
    return (performance.now() - startedMs) / 1_000;
  }

  async #one(index: number, startedMs: number): Promise<void> {
    const { rate, vms, say } = this.#options;
    const dueMs = rate === 0 ? performance.now() : startedMs + (1_000 * index) / rate;
    await sleep(Math.max(0, dueMs - performance.now()));
    try {
      await this.#make(index);
      this.latencies.push(performance.now() - dueMs);
    } catch (error) {
      const reason = isStillpointError(error) ? error.reason : String(error);
      this.failures[reason] = (this.failures[reason] ?? 0) + 1;
    }
    if ((index + 1) % Math.ceil(vms / 10) === 0) say(`${this.latencies.length} VMs run`);
  }

  async #make(index: number): Promise<void> {
    const { vms, operations } = this.#options.api;
    const spec = { image: emptyImage, cpus: 1 + (index % 4), memoryBytes: 4 * gib };
    const request = { parent: "projects/default", vmId: `load-${index}`, spec, start: true };
    const { name } = await vms.createVm({ ...request, requestId: `load-${index}` });
    const { error } = await untilDone(operations, name);
    if (error !== undefined) throw new Error(error.reason);
  }
}
