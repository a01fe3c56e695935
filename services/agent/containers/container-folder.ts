import { join } from "node:path";
import { checkUid, type DataFolder } from "../workload-folder.ts";

/** What a container has in the agent's data; its volumes lie with the engine. */
export interface ContainerFolder {
  readonly root: string;
  /** Its definition, without the values of secrets. */
  readonly spec: string;
  /** Values of secrets, sealed. */
  readonly secrets: string;
  readonly manifest: string;
  /** What was last told of it. */
  readonly status: string;
  readonly checkpoints: string;
}

export function containerFolder(data: DataFolder, uid: string): ContainerFolder {
  const root = join(data.containers, checkUid(uid));
  return {
    root,
    spec: join(root, "spec.json"),
    secrets: join(root, "secrets"),
    manifest: join(root, "manifest.json"),
    status: join(root, "status.json"),
    checkpoints: join(root, "checkpoints"),
  };
}

/** Whether a workload's uid is that of a container. */
export function isContainer(uid: string): boolean {
  return uid.startsWith("ctr-");
}
