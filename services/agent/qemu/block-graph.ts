import { relative } from "node:path";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { LayerFile, MachineLayers, MergeControl } from "../ports.ts";
import { BlockJobs, jobEvent } from "./block-jobs.ts";
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

const READY_MS = 600_000;
const FLUSH_MS = 120_000;

/** The block graph of a running QEMU, in layers. */
export class QemuLayers implements MachineLayers {
  readonly #qmp: Qmp;
  readonly #jobs: BlockJobs;
  readonly #root: string;

  constructor(qmp: Qmp, root: string) {
    this.#qmp = qmp;
    this.#jobs = new BlockJobs(qmp);
    this.#root = root;
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

  /**
   * What is copied is durable before the layer's header says that it stands on `base`, and the header before this
   * resolves: whoever opens the file by its header reads the same at any time, also after QEMU was killed.
   */
  async pullUp(into: LayerFile, base: LayerFile | null, control: MergeControl): Promise<void> {
    await this.#jobs.stream({ into, base }, control, async (id) => {
      await this.#flush(into.id);
      await failpoint("agent.merge.copied");
      await this.#qmp.run("job-finalize", { id });
    });
    await this.#flush(into.id);
  }

  /** Copies as `pullUp` does, and leaves the layer's header as it is. Durable once QEMU has ended. */
  async copyUp(into: LayerFile, base: LayerFile | null, control: MergeControl): Promise<void> {
    await this.#jobs.stream({ into, base }, control, (id) => this.#jobs.cancel(id));
  }

  async settle(): Promise<void> {
    await this.#jobs.cancelAll();
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

  /** Names of all nodes. */
  async #open(): Promise<Set<string>> {
    const nodes = await this.#qmp.run<{ "node-name": string }[]>("query-named-block-nodes", { flat: true });
    return new Set(nodes.map((node) => node["node-name"]));
  }
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
