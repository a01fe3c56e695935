import { vmName } from "#libs/names";

/** The name of a checkpoint as people give it: by id, or by display name. */
export const checkpointOf = ({ project }: { readonly project: string }, vm: string, checkpoint: string): string =>
  `${vmName(project, vm)}/checkpoints/${checkpoint}`;
