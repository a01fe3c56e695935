import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import type { MergeControl } from "../ports.ts";
import { type Qmp, QmpError, type QmpEvent } from "./qmp.ts";

export interface BlockJob {
  readonly device: string;
  readonly offset: number;
  readonly len: number;
  /** Bytes each second; 0 is as fast as it goes. */
  readonly speed: number;
  readonly ready: boolean;
  /** "running", "ready", "pending" and others (qapi/job.json). */
  readonly status: string;
}

/** What an agent gives a job's end up for, at the longest. */
export const JOB_END_MS = 600_000;
const LOOK_MS = 250;
const GONE_MS = 5;
const EVENTS = ["BLOCK_JOB_READY", "BLOCK_JOB_PENDING", "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"];

/** Block jobs of a QEMU. */
export class BlockJobs {
  readonly #qmp: Qmp;

  constructor(qmp: Qmp) {
    this.#qmp = qmp;
  }

  async list(): Promise<BlockJob[]> {
    return await this.#qmp.run<BlockJob[]>("query-block-jobs");
  }

  /**
   * Begins a job and looks at it, each time that it tells something and between, until it is gone or `look` gives
   * true. One that is cancelled leaves a chain that reads as before.
   * @throws StillpointError QEMU_FAILED, SPACE_INSUFFICIENT
   */
  async follow(
    id: string,
    begin: () => Promise<unknown>,
    { signal, progress }: MergeControl,
    look: (job: BlockJob) => Promise<boolean> = async () => false,
  ): Promise<void> {
    using events = this.#listen(id);
    const wish = new AbortController();
    const cancelled = aborted(AbortSignal.any([signal, wish.signal]));
    try {
      await begin();
      for (;;) {
        const told = events.next();
        const job = await this.#find(id);
        if (job === undefined) break;
        await progress(job.offset, job.len);
        if (signal.aborted) {
          await this.cancel(id);
          throw signal.reason;
        }
        if (await look(job)) return;
        const pause = delay(LOOK_MS, undefined, { signal: wish.signal }).catch(() => undefined);
        if ((await Promise.race([told, cancelled, pause])) === "ended") await delay(GONE_MS);
      }
    } finally {
      wish.abort();
    }
    events.refuseFailed();
  }

  /** Lets a job that waits for it make its change of the block graph. @throws StillpointError QEMU_FAILED */
  async finalize(id: string): Promise<void> {
    using events = this.#listen(id);
    await this.#qmp.run("job-finalize", { id });
    await this.#untilGone(id);
    events.refuseFailed();
  }

  /** Ends a job; nothing of what it would change in the end is changed. */
  async cancel(id: string): Promise<void> {
    // One that is ending by itself is not there any more.
    const cancel = () => this.#qmp.run("block-job-cancel", { device: id, force: true }).catch(() => undefined);
    await this.#untilGone(id, cancel);
  }

  async #untilGone(id: string, each: () => Promise<unknown> = async () => undefined): Promise<void> {
    const giveUp = performance.now() + JOB_END_MS;
    while ((await this.#find(id)) !== undefined) {
      if (performance.now() > giveUp) throw new QmpError(`block job ${id} does not end`);
      await each();
      await delay(GONE_MS);
    }
  }

  async #find(id: string): Promise<BlockJob | undefined> {
    return (await this.list()).find((job) => job.device === id);
  }

  #listen(id: string) {
    let failure: string | undefined;
    let resolveNext: (what: "told" | "ended") => void = () => undefined;
    const stop = this.#qmp.onEvent((event) => {
      if (!EVENTS.includes(event.event) || jobOf(event) !== id) return;
      const isEnd = event.event === "BLOCK_JOB_COMPLETED" || event.event === "BLOCK_JOB_CANCELLED";
      if (isEnd) failure = event.data.error as string | undefined;
      resolveNext(isEnd ? "ended" : "told");
    });
    return {
      next: () => {
        const { promise, resolve } = Promise.withResolvers<"told" | "ended">();
        resolveNext = resolve;
        return promise;
      },
      refuseFailed: () => {
        if (failure !== undefined) throw failed(failure);
      },
      [Symbol.dispose]: stop,
    };
  }
}

/** QEMU names a job by `device` in most of its events, and by `id` in one. */
function jobOf({ data }: QmpEvent): unknown {
  return data.device ?? data.id;
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
