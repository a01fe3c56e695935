import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { DiskStore } from "../ports.ts";
import type { Workload } from "../workload.ts";
import { Growth, secondsUntilFull } from "./growth.ts";
import { storageSizes } from "./storage-sizes.ts";

const EVERY_MS = 60_000;
/** So long a merge waits before it looks for space again. */
const WAITING_MS = 5_000;
/** Growth that is worth a word. */
const MATERIAL_BYTES = 16 * 2 ** 20;

export interface StorageWatchDeps {
  readonly disks: Pick<DiskStore, "usedBytes" | "freeBytes">;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Known {
  readonly growth: Growth;
  /** As it was last told. */
  told: { readonly text: string; readonly totalBytes: number };
  newest: CheckpointStorage | undefined;
}

/** Measures what workloads take on this host, tells it when it has changed, and foretells when the disk is full. */
export class StorageWatch {
  readonly #deps: StorageWatchDeps;
  readonly #taken = new Growth();
  readonly #known = new WeakMap<Workload, Known>();
  #freeBytes = 0;

  constructor(deps: StorageWatchDeps) {
    this.#deps = deps;
  }

  /** To be called after checkpoints or layers came or went: tells soon what they take now. */
  changed(workload: Workload): void {
    this.#tell(workload, 0).catch((err: unknown) => {
      this.#deps.logger.warn({ err, uid: workload.uid }, "the size of its checkpoints is not told");
    });
  }

  async measure(workload: Workload): Promise<CheckpointStorage> {
    return (await this.#measure(workload)).storage;
  }

  /**
   * Looks at once and every minute, until the signal. `next` is called for each workload after a look, and for one
   * whose merge waits more often.
   */
  async watch(
    workloads: () => readonly Workload[],
    next: (workload: Workload) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (let passedMs = 0; !signal.aborted; passedMs = (passedMs + WAITING_MS) % EVERY_MS) {
      const isLook = passedMs === 0;
      if (isLook) await this.#look(workloads());
      workloads()
        .filter(({ merging }) => isLook || merging.waitsFor !== "")
        .forEach(next);
      await this.#deps.clock.sleep(WAITING_MS, signal).catch(() => undefined);
    }
  }

  /** As of the last look. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Undefined when nothing takes space. */
  get secondsUntilFull(): number | undefined {
    return secondsUntilFull(this.#freeBytes, -this.#taken.bytesPerHour);
  }

  /** As it was last measured. */
  lastOf(workload: Workload): CheckpointStorage | undefined {
    return this.#known.get(workload)?.newest;
  }

  async #look(workloads: readonly Workload[]): Promise<void> {
    const { clock, disks, logger } = this.#deps;
    try {
      this.#taken.add(clock.monotonicMs(), await disks.freeBytes());
      for (const workload of workloads) {
        const { totalBytes } = await storageSizes(disks, workload);
        this.#knownOf(workload).growth.add(clock.monotonicMs(), totalBytes);
        await this.#tell(workload, MATERIAL_BYTES);
      }
    } catch (err) {
      logger.warn({ err }, "disks are not measured");
    }
  }

  async #tell(workload: Workload, materialBytes: number): Promise<void> {
    const { storage, totalBytes } = await this.#measure(workload);
    const known = this.#knownOf(workload);
    const text = JSON.stringify([storage.hiddenLayers, storage.mergeWaitsFor, storage.mergeDebtBytes, storage.sizes]);
    const grown = Math.abs(totalBytes - known.told.totalBytes);
    if (text === known.told.text && (grown < materialBytes || materialBytes === 0)) return;
    known.told = { text, totalBytes };
    workload.observe({ storage });
  }

  async #measure(workload: Workload): Promise<{ storage: CheckpointStorage; totalBytes: number }> {
    const { clock, disks } = this.#deps;
    const { totalBytes, ...sizes } = await storageSizes(disks, workload);
    this.#freeBytes = await disks.freeBytes();
    const { doneBytes, totalBytes: mergeTotalBytes, waitsFor } = workload.merging;
    const known = this.#knownOf(workload);
    const seconds = this.secondsUntilFull;
    const storage: CheckpointStorage = {
      ...sizes,
      mergeDoneBytes: doneBytes,
      mergeTotalBytes,
      mergeWaitsFor: waitsFor,
      freeBytes: this.#freeBytes,
      growthBytesPerHour: Math.max(0, Math.round(known.growth.bytesPerHour)),
      fullIn: seconds === undefined ? undefined : { seconds, nanos: 0 },
      time: clock.now(),
    };
    known.newest = storage;
    return { storage, totalBytes };
  }

  #knownOf(workload: Workload): Known {
    const known = this.#known.get(workload) ?? {
      growth: new Growth(),
      told: { text: "", totalBytes: 0 },
      newest: undefined,
    };
    this.#known.set(workload, known);
    return known;
  }
}
