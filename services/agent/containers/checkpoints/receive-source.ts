import type { EngineImage } from "../../container-engine.ts";
import type { ContainerCheckpoint } from "./tree-shape.ts";

/** Where a checkpoint comes from: another container on this host, or the registry. */
export interface ReceiveSource {
  readonly kind: ContainerCheckpoint["kind"];
  readonly volumes: readonly string[];
  /** Has the engine have its image under that name; gives it. */
  image(to: { readonly repository: string; readonly tag: string }): Promise<EngineImage>;
  /** Makes the copy of a volume, as a whole or not at all. @param copy its folder, which is not there */
  volume(id: string, copy: string): Promise<void>;
}
