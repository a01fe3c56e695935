import type { ReceivePlan } from "../manifest.ts";

/** Where a checkpoint comes from: another workload on this host, or the registry. */
export interface ReceiveSource {
  /** Lets nothing change the source until what is given is disposed of. */
  hold?(): Promise<Disposable>;
  /** What there will be. When the step is begun again, the plan of `before` may be given back: then it goes on. */
  plan(before: ReceivePlan | undefined): Promise<ReceivePlan>;
  /**
   * Makes every file that the plan names, durably, in `places`; those that are there already it may keep. Files on the
   * way to a layer are called as the layer with ".part" behind it.
   */
  fill(plan: ReceivePlan, places: ReceivePlaces): Promise<void>;
}

/** Paths for the files. Each folder is there. */
export interface ReceivePlaces {
  layer(disk: string, layer: string): string;
  /** The checkpoint's own folder: for RAM (ram.zst), digests.json and the like. */
  readonly checkpoint: string;
  /** For kernel and initrd. */
  readonly boot: string;
}
