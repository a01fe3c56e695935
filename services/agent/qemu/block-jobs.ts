import { setTimeout as delay } from "node:timers/promises";
import { backingName } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import type { LayerFile, MergeControl } from "../ports.ts";
import { nodeName } from "./command-line.ts";
import { type Qmp, QmpError } from "./qmp.ts";

interface BlockJob {
  readonly device: string;
  readonly offset: number;
  readonly len: number;
  /** "pending" once all is copied: it waits to be finalized. */
  readonly status: string;
}

interface Ended {
  readonly promise: Promise<"ended">;
  failure: string | undefined;
  stop(): void;
}

/** What is done with a job that has copied all and waits: it is finalized, or cancelled. */
type WhenCopied = (job: string) => Promise<void>;

const END_MS = 600_000;
const LOOK_MS = 250;
const GONE_MS = 5;

/** Block jobs of a QEMU. */
export class BlockJobs {
  readonly #qmp: Qmp;

  constructor(qmp: Qmp) {
    this.#qmp = qmp;
  }

  /** Copies what lies between a layer and `base` (null: all below) up into it, until the job has ended. */
  async stream(
    { into, base }: { readonly into: LayerFile; readonly base: LayerFile | null },
    control: MergeControl,
    whenCopied: WhenCopied,
  ): Promise<void> {
    const job = `merge-${nodeName(into.id)}`;
    const ended = this.#whenEnded(job);
    try {
      await this.#qmp.run("block-stream", {
        "job-id": job,
        device: nodeName(into.id),
        speed: control.bytesPerSecond,
        "auto-finalize": false,
        ...(base && { "base-node": nodeName(base.id), "backing-file": backingName(into.path, base.path) }),
      });
      await this.#follow(job, ended, control, whenCopied);
    } finally {
      ended.stop();
    }
  }

  async cancelAll(): Promise<void> {
    for (const { device } of await this.#list()) await this.cancel(device);
  }

  async cancel(id: string): Promise<void> {
    const giveUp = performance.now() + END_MS;
    while ((await this.#find(id)) !== undefined) {
      if (performance.now() > giveUp) throw new QmpError(`block job ${id} does not end`);
      // One that is ending by itself is not there any more.
      await this.#qmp.run("block-job-cancel", { device: id, force: true }).catch(() => undefined);
      await delay(GONE_MS);
    }
  }

  #whenEnded(id: string): Ended {
    const { promise, resolve } = Promise.withResolvers<"ended">();
    const ended: Ended = { promise, failure: undefined, stop: () => stop() };
    const stop = this.#qmp.onEvent((event) => {
      if (!jobEvent(id, "BLOCK_JOB_PENDING", "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")(event)) return;
      ended.failure = event.data.error as string | undefined;
      resolve("ended");
    });
    return ended;
  }

  /** Looks at the job until it is gone. A stream that is cancelled leaves a chain that reads as before. */
  async #follow(id: string, ended: Ended, { signal, progress }: MergeControl, whenCopied: WhenCopied): Promise<void> {
    const wish = new AbortController();
    const cancelled = aborted(AbortSignal.any([signal, wish.signal]));
    try {
      for (let job = await this.#find(id); job !== undefined; job = await this.#find(id)) {
        await progress(job.offset, job.len);
        if (signal.aborted) {
          await this.cancel(id);
          throw signal.reason;
        }
        if (job.status === "pending") await this.#settle(id, whenCopied);
        const pause = delay(LOOK_MS, undefined, { signal: wish.signal }).catch(() => undefined);
        if ((await Promise.race([ended.promise, cancelled, pause])) === "ended") await delay(GONE_MS);
      }
    } finally {
      wish.abort();
    }
    if (ended.failure !== undefined) throw failed(ended.failure);
  }

  /** A job that cannot be brought to its end is taken back. */
  async #settle(id: string, whenCopied: WhenCopied): Promise<void> {
    try {
      await whenCopied(id);
    } catch (error) {
      await this.cancel(id).catch(() => undefined);
      throw error;
    }
  }

  async #list(): Promise<BlockJob[]> {
    return await this.#qmp.run<BlockJob[]>("query-block-jobs");
  }

  async #find(id: string): Promise<BlockJob | undefined> {
    return (await this.#list()).find((job) => job.device === id);
  }
}

export function jobEvent(id: string, ...names: string[]) {
  return (event: { event: string; data: Readonly<Record<string, unknown>> }) =>
    names.includes(event.event) && (event.data.device ?? event.data.id) === id;
}

/** The image of a disk that is full says so with errno's words. */
function failed(why: string): StillpointError {
  const reason = /no space left/i.test(why) ? "SPACE_INSUFFICIENT" : "QEMU_FAILED";
  return new StillpointError(reason, `merging layers failed: ${why}`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
