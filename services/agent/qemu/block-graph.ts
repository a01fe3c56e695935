import { relative } from "node:path";
import { backingName } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { LayerFile, MachineLayers, MergeControl, PushDown } from "../ports.ts";
import { type BlockJob, BlockJobs, JOB_END_MS } from "./block-jobs.ts";
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

const FLUSH_MS = 120_000;

/** The block graph of a running QEMU, in layers. */
export class QemuLayers implements MachineLayers {
  readonly #qmp: Qmp;
  readonly #root: string;
  readonly #jobs: BlockJobs;

  constructor(qmp: Qmp, root: string) {
    this.#qmp = qmp;
    this.#root = root;
    this.#jobs = new BlockJobs(qmp);
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
    const ready = this.#qmp.nextEvent(jobEvent(job, "BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED"), JOB_END_MS);
    ready.catch(() => undefined);
    await this.#qmp.run("block-commit", {
      "job-id": job,
      device: nodeName(top),
      "top-node": nodeName(top),
      "base-node": nodeName(below),
    });
    refuseFailed(await ready, disk);
    const completed = this.#qmp.nextEvent(jobEvent(job, "BLOCK_JOB_COMPLETED"), JOB_END_MS);
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
    await this.#stream(into, base, control, async (id) => {
      await this.#flush(into.id);
      await failpoint("agent.merge.copied");
      await this.#jobs.finalize(id);
    });
    await this.#flush(into.id);
  }

  /** Copies as `pullUp` does, and leaves the layer's header as it is. Durable once QEMU has ended. */
  async copyUp(into: LayerFile, base: LayerFile | null, control: MergeControl): Promise<void> {
    await this.#stream(into, base, control, (id) => this.#jobs.cancel(id));
  }

  async pushDown({ top, into, above, device }: PushDown, control: MergeControl, switching: () => Promise<void>) {
    const job = downJob(into.id);
    const commit = () =>
      this.#qmp.run("block-commit", {
        ...{ "job-id": job, device: nodeName(device), "top-node": nodeName(top.id), "base-node": nodeName(into.id) },
        ...{ speed: control.bytesPerSecond, "auto-finalize": false },
        ...(above && { "backing-file": backingName(above.path, into.path) }),
      });
    await this.#run(job, commit, control, this.#completion());
    await this.#orCancel(job, async () => {
      // The commit of a layer that is written to has flushed already what it wrote, when it waits.
      if (above !== null) await this.#flush(into.id);
      await switching();
      await this.#jobs.finalize(job);
      if (above !== null) await this.#flush(above.id);
    });
  }

  /** @param whenCopied what is done with a job that has copied all and waits: it is finalized, or cancelled */
  async #stream(
    into: LayerFile,
    base: LayerFile | null,
    control: MergeControl,
    whenCopied: (job: string) => Promise<void>,
  ): Promise<void> {
    const job = `merge-${nodeName(into.id)}`;
    const stream = {
      ...{ "job-id": job, device: nodeName(into.id), speed: control.bytesPerSecond, "auto-finalize": false },
      ...(base && { "base-node": nodeName(base.id), "backing-file": backingName(into.path, base.path) }),
    };
    await this.#run(
      job,
      () => this.#qmp.run("block-stream", stream),
      control,
      async ({ status }) => status === "pending",
    );
    await this.#orCancel(job, () => whenCopied(job));
  }

  /** Resolves when all is copied, and the job waits to be finalized. */
  async #run(
    job: string,
    begin: () => Promise<unknown>,
    control: MergeControl,
    isCopied: (job: BlockJob) => Promise<boolean>,
  ): Promise<void> {
    let copied = false;
    const look = async (state: BlockJob) => {
      copied = await isCopied(state);
      return copied;
    };
    await this.#orCancel(job, () => this.#jobs.follow(job, begin, control, look));
    if (!copied) throw new StillpointError("QEMU_FAILED", "a merge of layers ended before its time");
  }

  async #orCancel(job: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.#jobs.cancel(job).catch(() => undefined); // a QEMU that is gone has no job
      throw error;
    }
  }

  async settle(now: readonly string[]): Promise<void> {
    const switched = now.map(downJob);
    for (const { device, status } of await this.#jobs.list()) {
      if (status === "pending" && switched.includes(device)) await this.#jobs.finalize(device);
      else await this.#jobs.cancel(device);
    }
  }

  /**
   * Gives true once a commit waits to be finalized. That of a layer in use takes in its writes until it is told to
   * complete; where they come faster than it may copy it would never end: the limit holds for the first pass.
   */
  #completion(): (job: BlockJob) => Promise<boolean> {
    let firstPass = Number.POSITIVE_INFINITY;
    let isTold = false;
    return async ({ device, status, ready, offset, len, speed }) => {
      if (ready && !isTold) {
        isTold = true;
        await this.#qmp.run("job-complete", { id: device });
      }
      if (len > 0) firstPass = Math.min(firstPass, len);
      if (status === "pending") return true;
      if (speed > 0 && offset >= firstPass) {
        const hurry = this.#qmp.run("block-job-set-speed", { device, speed: 0 });
        await hurry.catch(() => undefined); // it has come to its end meanwhile
      }
      return false;
    };
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

function downJob(into: string): string {
  return `down-${nodeName(into)}`;
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
