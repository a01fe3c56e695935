import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Workload } from "../workload.ts";
import { digestPath } from "./file-digest.ts";
import { nowLayers } from "./layer-tree.ts";

/** Removes files that the manifest does not name: what a crash left between a change of it and the removal. */
export async function sweepFiles(parts: AgentParts, workload: Workload): Promise<void> {
  const { manifest, folder, machine } = workload;
  const coming = Object.keys(manifest.receiving?.plan.layers ?? {});
  const pending = [...Object.values(manifest.pending?.layers ?? {}), ...coming];
  const files = [...Object.keys(manifest.layers), ...pending].map((layer) => `${layer}.qcow2`);
  // What is written to has no digest.
  const now = new Set(Object.values(nowLayers(manifest)).map((layer) => `${layer}.qcow2`));
  const layers = files.flatMap((file) => (now.has(file) ? [file] : [file, digestPath(file)]));
  layers.push(...coming.map((layer) => `${layer}.qcow2.part`));
  for (const disk of Object.keys(manifest.disks)) {
    const gone = await unnamed(folder.disk(disk), layers);
    await machine?.layers.drop(gone.filter((name) => name.endsWith(".qcow2")).map((name) => basename(name, ".qcow2")));
    for (const name of gone) await parts.disks.remove(join(folder.disk(disk), name));
  }
  const unfinished = [manifest.pending, manifest.receiving].map((it) => `.tmp-${it?.checkpoint}`);
  const checkpoints = [...Object.keys(manifest.checkpoints), ...unfinished];
  for (const name of await unnamed(folder.checkpoints, checkpoints)) {
    await rm(join(folder.checkpoints, name), { recursive: true, force: true });
  }
}

async function unnamed(folder: string, named: readonly string[]): Promise<string[]> {
  const present = await readdir(folder).catch(() => []);
  return present.filter((name) => !named.includes(name));
}
