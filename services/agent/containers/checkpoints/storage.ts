import { statfs } from "node:fs/promises";
import type { CheckpointSize, CheckpointStorage } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { Container } from "../container.ts";
import type { StorageOfContainers } from "../container-parts.ts";
import { ownBytes } from "./files.ts";
import { treeOf } from "./tree.ts";
import type { CheckpointTree } from "./tree-shape.ts";
import { checkpointFolder } from "./volumes.ts";

interface Known {
  /** Which checkpoints stand on which: as long as that is the same, so are the sizes. */
  readonly shape: string;
  readonly sizes: Promise<CheckpointSize[]>;
  isTold: boolean;
}

/** Measures what the checkpoints of containers take on this host, and tells it when it has changed. */
export class ContainerStorage implements StorageOfContainers {
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  readonly #known = new WeakMap<Container, Known>();

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#deps = deps;
  }

  changed(container: Container): void {
    if (container.manifest.tree === undefined || container.isLeaving) return;
    this.#tell(container).catch((err: unknown) => {
      this.#deps.logger.warn({ err, uid: container.uid }, "the size of its checkpoints is not told");
    });
  }

  async measure(container: Container): Promise<CheckpointStorage | undefined> {
    if (container.manifest.tree === undefined) return undefined;
    const { bavail, bsize } = await statfs(container.folder.root);
    return {
      ...{ sizes: await this.#knownOf(container).sizes, freeBytes: bavail * bsize, time: this.#deps.clock.now() },
      // Each checkpoint stands for itself: nothing is ever merged.
      ...{ mergeDebtBytes: 0, mergeDoneBytes: 0, mergeTotalBytes: 0, mergeWaitsFor: "", hiddenLayers: 0 },
      ...{ growthBytesPerHour: 0, fullIn: undefined },
    };
  }

  async #tell(container: Container): Promise<void> {
    const known = this.#knownOf(container);
    if (known.isTold) return;
    known.isTold = true;
    const storage = await this.measure(container);
    if (storage !== undefined && !container.isLeaving) container.observe({ storage });
  }

  #knownOf(container: Container): Known {
    const tree = treeOf(container);
    const shape = JSON.stringify(Object.entries(tree.checkpoints).map(([uid, { parent }]) => [uid, parent]));
    const known = this.#known.get(container);
    if (known?.shape === shape) return known;
    const next = { shape, sizes: measure(container, tree), isTold: false };
    this.#known.set(container, next);
    // A checkpoint went while it was measured: the next one who asks measures again.
    next.sizes.catch(() => this.#known.delete(container));
    return next;
  }
}

/** Files that a checkpoint shares with the one that it stands on are that one's. */
async function measure(container: Container, { checkpoints }: CheckpointTree): Promise<CheckpointSize[]> {
  const signal = new AbortController().signal;
  const sizes: CheckpointSize[] = [];
  for (const [uid, { parent, rootBytes = 0 }] of Object.entries(checkpoints)) {
    const folder = checkpointFolder(container, uid);
    const below = parent === null ? undefined : checkpointFolder(container, parent);
    const cumulativeBytes = rootBytes + (await ownBytes(folder, undefined, signal));
    sizes.push({ uid, ownBytes: rootBytes + (await ownBytes(folder, below, signal)), cumulativeBytes });
  }
  return sizes;
}
