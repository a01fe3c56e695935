import { workloadName } from "./workload.ts";

/** The name of a checkpoint as people give it: by id, or by display name. */
export const checkpointOf = ({ project }: { readonly project: string }, vm: string, checkpoint: string): string =>
  `${workloadName(project, vm)}/checkpoints/${checkpoint}`;
