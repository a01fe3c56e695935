import type { Workload } from "../workload.ts";

/** Every image that a workload stands on or boots from, also by a checkpoint or one on its way here. */
export function imagesOf({ definition, manifest }: Pick<Workload, "definition" | "manifest">): string[] {
  const layers = [...Object.values(manifest.layers), ...Object.values(manifest.receiving?.plan.layers ?? {})];
  const images = [definition.image, ...layers.map(({ base }) => base ?? "")];
  return [...new Set(images.filter((image) => image !== ""))];
}
