import { copyFile, link, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LocalCheckpoint } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import { newLayerId } from "../actions/create-vm.ts";
import { syncFolder } from "../durable-file.ts";
import { layerFile } from "../machine-spec.ts";
import type { CheckpointEntry, Layer, Manifest, ReceivePlan } from "../manifest.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { copyDigest, refuseDamaged, renewLooks } from "./digests.ts";
import { chainOf, checkpointOf, layerOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";
import type { ReceivePlaces, ReceiveSource } from "./receive-source.ts";

/** One checkpoint on its way from one workload to another. */
interface Copying {
  readonly parts: AgentParts;
  readonly context: StepContext;
  readonly source: Workload;
  readonly checkpointUid: string;
  readonly plan: ReceivePlan;
  readonly places: ReceivePlaces;
}

/**
 * A checkpoint of another workload on this host: as hard links to its whole chain, which copy nothing, or flattened
 * into one layer for each disk. The source's files are checked first.
 */
export function receiveLocal(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { workloadUid, checkpointUid, fullCopy }: LocalCheckpoint,
): ReceiveSource {
  return {
    /** Nothing is merged in the source meanwhile, and no digest computed. */
    async hold() {
      using stack = new DisposableStack();
      stack.use(await parts.merges.hold(workloadUid));
      stack.use(await parts.background.hold(workloadUid));
      return stack.move();
    },

    async plan() {
      const { manifest } = parts.workloads.get(workloadUid);
      const entry = checkpointOf(manifest, checkpointUid);
      const layers = fullCopy ? flatLayers(parts, entry) : sharedLayers(manifest, entry);
      const { boot } = manifest;
      const bootsAlone = workload.definition.image === "" && boot !== undefined;
      return { ...planOf(manifest, entry), layers, tops: topsOf(entry, layers, fullCopy), ...(bootsAlone && { boot }) };
    },

    async fill(plan, places) {
      const source = parts.workloads.get(workloadUid);
      await refuseDamaged(parts, source, checkpointUid);
      const copying = { parts, context, source, checkpointUid, plan, places };
      await (fullCopy ? flatten(copying) : share(copying));
      if (plan.boot !== undefined) await takeBoot(copying);
    },
  };
}

function planOf({ disks }: Manifest, { kind, machine, paused = false, layers }: CheckpointEntry) {
  const sizes = Object.keys(layers).map((disk) => [disk, disks[disk]?.sizeBytes ?? 0]);
  return { kind, machine, paused, diskBytes: Object.fromEntries(sizes) as Record<string, number> };
}

/** The source's own layers, under their own names. */
function sharedLayers(manifest: Manifest, { layers }: CheckpointEntry): Record<string, Layer> {
  const ids = Object.values(layers).flatMap((top) => chainOf(manifest, top));
  return Object.fromEntries(ids.map((id) => [id, layerOf(manifest, id)]));
}

/** A new layer for each disk, that stands on nothing. */
function flatLayers(parts: AgentParts, { layers }: CheckpointEntry): Record<string, Layer> {
  return Object.fromEntries(Object.keys(layers).map((disk) => [newLayerId(parts), { disk, parent: null, base: null }]));
}

function topsOf(entry: CheckpointEntry, layers: Record<string, Layer>, fullCopy: boolean): Record<string, string> {
  if (!fullCopy) return entry.layers;
  return Object.fromEntries(Object.entries(layers).map(([id, { disk }]) => [disk, id]));
}

/** Links change how files look and nothing else: what is known of their digests is renewed, and is known here too. */
async function share({ parts, source, checkpointUid, plan, places }: Copying): Promise<void> {
  const files = Object.entries(plan.layers).map(([layer, { disk }]) => ({
    from: source.folder.layer(disk, layer),
    to: places.layer(disk, layer),
  }));
  for (const { from } of files) await parts.disks.seal(from);
  if (plan.kind === "standard") {
    files.push({ from: ramOf(source, checkpointUid), to: join(places.checkpoint, RAM_FILE) });
  }
  for (const { from, to } of files) await linkOnce(from, to);
  await renewLooks(source, checkpointUid);
  for (const { from, to } of files) await copyDigest(from, to);
  for (const folder of new Set(files.map(({ to }) => dirname(to)))) await syncFolder(folder);
}

async function flatten({ parts, context, source, checkpointUid, plan, places }: Copying): Promise<void> {
  const { layers } = checkpointOf(source.manifest, checkpointUid);
  for (const [disk, layer] of Object.entries(plan.tops)) {
    context.signal.throwIfAborted();
    context.progress({ message: `copying ${disk}` });
    const top = layerFile(source, disk, layers[disk] ?? "");
    await parts.disks.flatten(top.path, places.layer(disk, layer), context.signal);
  }
  if (plan.kind !== "standard") return;
  const ram = join(places.checkpoint, RAM_FILE);
  await rm(ram, { force: true });
  await copyFile(ramOf(source, checkpointUid), ram);
  await using file = await open(ram, "r");
  await file.sync();
}

const ramOf = (source: Workload, checkpointUid: string) => join(source.folder.checkpoint(checkpointUid), RAM_FILE);

async function takeBoot({ source, places }: Copying): Promise<void> {
  const { kernel, initrd } = source.folder.bootFiles;
  await linkOnce(kernel, join(places.boot, "kernel"));
  if (source.manifest.boot?.initrd !== undefined) await linkOnce(initrd, join(places.boot, "initrd"));
  await syncFolder(places.boot);
}

/** A link that is there already is the one of an earlier attempt. */
async function linkOnce(from: string, to: string): Promise<void> {
  await link(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
}
