import { relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { backingName } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import type { LayerFile, MachineLayers, MergeControl } from "../ports.ts";
import { blockNode, nodeName } from "./command-line.ts";
import { type Qmp, QmpError } from "./qmp.ts";

interface BlockDevice {
  readonly qdev?: string;
  readonly inserted?: { readonly image: BlockImage };
}

interface BlockImage {
  readonly filename: string;
  readonly "backing-image"?: BlockImage;
}

interface BlockJob {
  readonly device: string;
  readonly offset: number;
  readonly len: number;
  readonly ready: boolean;
}

const READY_MS = 600_000;
const JOB_LOOK_MS = 250;
const JOB_GONE_MS = 5;
const FLUSH_MS = 120_000;

interface Ended {
  readonly promise: Promise<"ended">;
  failure: string | undefined;
  stop(): void;
}

/** The block graph of a running QEMU, in layers. */
export class QemuLayers implements MachineLayers {
  readonly #qmp: Qmp;
  readonly #root: string;
  readonly #flushes: boolean;

  /** @param flushes whether QEMU must be told to write out what it holds in memory; else its end sees to that */
  constructor(qmp: Qmp, root: string, { flushes }: { readonly flushes: boolean }) {
    this.#qmp = qmp;
    this.#root = root;
    this.#flushes = flushes;
  }

  async prepare(layer: LayerFile): Promise<void> {
    if ((await this.#open()).has(nodeName(layer.id))) return;
    const path = relative(this.#root, layer.path);
    await this.#qmp.run("blockdev-add", blockNode(layer, path, { below: null, readOnly: false }));
  }

  async drop(layers: readonly string[]): Promise<void> {
    const open = await this.#open();
    let left = layers.filter((layer) => open.has(nodeName(layer)));
    while (left.length > 0) {
      const refusals = new Map<string, unknown>();
      for (const layer of left) {
        const closing = this.#qmp.run("blockdev-del", { "node-name": nodeName(layer) });
        await closing.catch((error: unknown) => refusals.set(layer, error));
      }
      const [refusal] = refusals.values();
      if (refusals.size === left.length) throw refusal;
      left = [...refusals.keys()]; // those that another one stood on
    }
  }

  async switchOver(switches: readonly { from: string; to: string }[]): Promise<void> {
    const actions = switches.map(({ from, to }) => ({
      type: "blockdev-snapshot",
      data: { node: nodeName(from), overlay: nodeName(to) },
    }));
    await this.#qmp.run("transaction", { actions });
  }

  async inUse(): Promise<Map<string, string[]>> {
    const devices = await this.#qmp.run<BlockDevice[]>("query-block");
    const disks = devices.flatMap(({ qdev, inserted }) => {
      const disk = /disk-([a-z0-9]+)(\/|$)/.exec(qdev ?? "")?.[1];
      return disk === undefined || inserted === undefined ? [] : [[disk, layersIn(inserted.image)] as const];
    });
    return new Map(disks);
  }

  async commitTop(disk: string, top: string, below: string): Promise<void> {
    const job = `commit-${nodeName(top)}`;
    const ready = this.#qmp.nextEvent(jobEvent(job, "BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED"), READY_MS);
    ready.catch(() => undefined);
    await this.#qmp.run("block-commit", {
      "job-id": job,
      device: nodeName(top),
      "top-node": nodeName(top),
      "base-node": nodeName(below),
    });
    refuseFailed(await ready, disk);
    const completed = this.#qmp.nextEvent(jobEvent(job, "BLOCK_JOB_COMPLETED"), READY_MS);
    completed.catch(() => undefined);
    await this.#qmp.run("job-complete", { id: job });
    refuseFailed(await completed, disk);
    await this.drop([top]);
  }

  async pullUp(into: LayerFile, base: LayerFile | null, control: MergeControl): Promise<void> {
    const job = `merge-${nodeName(into.id)}`;
    const ended = this.#whenEnded(job);
    try {
      await this.#qmp.run("block-stream", {
        "job-id": job,
        device: nodeName(into.id),
        speed: control.bytesPerSecond,
        ...(base && { "base-node": nodeName(base.id), "backing-file": backingName(into.path, base.path) }),
      });
      await this.#follow(job, ended, control);
      if (this.#flushes) await this.#flush(into.id);
    } finally {
      ended.stop();
    }
  }

  async settle(): Promise<void> {
    for (const { device } of await this.#jobs()) await this.#cancel(device);
  }

  #whenEnded(id: string): Ended {
    const { promise, resolve } = Promise.withResolvers<"ended">();
    const ended: Ended = { promise, failure: undefined, stop: () => stop() };
    const stop = this.#qmp.onEvent((event) => {
      if (!jobEvent(id, "BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")(event)) return;
      ended.failure = event.data.error as string | undefined;
      resolve("ended");
    });
    return ended;
  }

  /** Looks at the job until it is gone. A stream that is cancelled leaves a chain that reads as before. */
  async #follow(id: string, ended: Ended, { signal, progress }: MergeControl): Promise<void> {
    const wish = new AbortController();
    const cancelled = aborted(AbortSignal.any([signal, wish.signal]));
    try {
      for (let job = await this.#job(id); job !== undefined; job = await this.#job(id)) {
        await progress(job.offset, job.len);
        if (signal.aborted) {
          await this.#cancel(id);
          throw signal.reason;
        }
        const pause = delay(JOB_LOOK_MS, undefined, { signal: wish.signal }).catch(() => undefined);
        if ((await Promise.race([ended.promise, cancelled, pause])) === "ended") await delay(JOB_GONE_MS);
      }
    } finally {
      wish.abort();
    }
    if (ended.failure !== undefined) throw failed(ended.failure);
  }

  /** A job's end is not durability: tables that say where the copied data lies may still be in QEMU's memory. */
  async #flush(layer: string): Promise<void> {
    const said = await this.#qmp.run<string>(
      "human-monitor-command",
      { "command-line": `qemu-io ${nodeName(layer)} flush` },
      FLUSH_MS,
    );
    if (said.trim() !== "") throw new StillpointError("QEMU_FAILED", `a merged layer is not flushed: ${said.trim()}`);
  }

  async #cancel(id: string): Promise<void> {
    const giveUp = performance.now() + READY_MS;
    while ((await this.#job(id)) !== undefined) {
      if (performance.now() > giveUp) throw new QmpError(`block job ${id} does not end`);
      // One that is ending by itself is not there any more.
      await this.#qmp.run("block-job-cancel", { device: id, force: true }).catch(() => undefined);
      await delay(JOB_GONE_MS);
    }
  }

  async #jobs(): Promise<BlockJob[]> {
    return await this.#qmp.run<BlockJob[]>("query-block-jobs");
  }

  async #job(id: string): Promise<BlockJob | undefined> {
    return (await this.#jobs()).find((job) => job.device === id);
  }

  /** Names of all nodes. */
  async #open(): Promise<Set<string>> {
    const nodes = await this.#qmp.run<{ "node-name": string }[]>("query-named-block-nodes", { flat: true });
    return new Set(nodes.map((node) => node["node-name"]));
  }
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

function jobEvent(id: string, ...names: string[]) {
  return (event: { event: string; data: Readonly<Record<string, unknown>> }) =>
    names.includes(event.event) && event.data.device === id;
}

function refuseFailed(event: { data: Readonly<Record<string, unknown>> }, what: string): void {
  const error = event.data.error;
  if (typeof error === "string") throw new QmpError(`block job on ${what} failed: ${error}`);
}

/** Layers by their files' names, top first; the image's base has no name of ours. */
function layersIn(image: BlockImage): string[] {
  const id = /([^/]+)\.qcow2$/.exec(fileName(image.filename))?.[1];
  const below = image["backing-image"];
  return [...(id === undefined ? [] : [id]), ...(below === undefined ? [] : layersIn(below))];
}

/** QEMU names a node that was put together otherwise than its header says by `json:` and its options. */
function fileName(name: string): string {
  if (!name.startsWith("json:")) return name;
  const options = JSON.parse(name.slice("json:".length)) as { file?: { filename?: string } };
  return options.file?.filename ?? "";
}
