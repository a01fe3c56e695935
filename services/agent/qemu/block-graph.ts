import { relative } from "node:path";
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

/** The block graph of a running QEMU, in layers. */
export class QemuLayers implements MachineLayers {
  readonly #qmp: Qmp;
  readonly #root: string;

  constructor(qmp: Qmp, root: string) {
    this.#qmp = qmp;
    this.#root = root;
  }

  async prepare(layer: LayerFile): Promise<void> {
    if (await this.#has(layer.id)) return;
    const path = relative(this.#root, layer.path);
    await this.#qmp.run("blockdev-add", blockNode(layer, path, { below: null, readOnly: false }));
  }

  async drop(layer: string): Promise<void> {
    if (await this.#has(layer)) await this.#qmp.run("blockdev-del", { "node-name": nodeName(layer) });
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
    await this.drop(top);
  }

  async pullUp(into: string, base: LayerFile | null, control: MergeControl): Promise<void> {
    const job = `merge-${nodeName(into)}`;
    if ((await this.#job(job)) === undefined) {
      await this.#qmp.run("block-stream", {
        "job-id": job,
        device: nodeName(into),
        ...(base && { "base-node": nodeName(base.id), "backing-file": base.path }),
      });
    }
    await this.#follow(job, control);
  }

  /** Looks at the job until it is gone: the event of a job's end is lost to an agent that was away. */
  async #follow(id: string, { signal, progress }: MergeControl): Promise<void> {
    let failure: string | undefined;
    const stop = this.#qmp.onEvent((event) => {
      if (jobEvent(id, "BLOCK_JOB_COMPLETED")(event)) failure = event.data.error as string | undefined;
    });
    try {
      for (let job = await this.#job(id); job !== undefined; job = await this.#job(id)) {
        progress(job.offset, job.len);
        if (signal.aborted) return await this.#cancel(id, signal);
        await this.#qmp.nextEvent(jobEvent(id, "BLOCK_JOB_COMPLETED"), JOB_LOOK_MS).catch(() => undefined);
      }
    } finally {
      stop();
    }
    if (failure !== undefined) throw new StillpointError("QEMU_FAILED", `merging layers failed: ${failure}`);
  }

  /** A stream that is cancelled leaves a working chain; it is begun again later and goes on where data is missing. */
  async #cancel(id: string, signal: AbortSignal): Promise<never> {
    const gone = this.#qmp.nextEvent(jobEvent(id, "BLOCK_JOB_CANCELLED", "BLOCK_JOB_COMPLETED"), READY_MS);
    gone.catch(() => undefined);
    await this.#qmp.run("job-cancel", { id });
    await gone;
    throw signal.reason;
  }

  async #job(id: string): Promise<BlockJob | undefined> {
    return (await this.#qmp.run<BlockJob[]>("query-block-jobs")).find((job) => job.device === id);
  }

  async #has(layer: string): Promise<boolean> {
    const nodes = await this.#qmp.run<{ "node-name": string }[]>("query-named-block-nodes", { flat: true });
    return nodes.some((node) => node["node-name"] === nodeName(layer));
  }
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
