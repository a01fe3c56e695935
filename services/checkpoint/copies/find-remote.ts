import { namesContainerCheckpoint, type RegistryClient } from "#libs/oci";
import { type FoundRemote, findVm } from "./remote-checkpoint.ts";
import { type FoundRemoteContainer, findContainer } from "./remote-container.ts";

/** A checkpoint in the registry, of either kind. */
export type Remote = FoundRemote | FoundRemoteContainer;

/** Looks at a checkpoint in the registry. Fails with IMAGE_NOT_FOUND, IMAGE_INVALID and REGISTRY_UNREACHABLE. */
export async function findRemote(registry: RegistryClient, reference: string): Promise<Remote> {
  const isContainers = await namesContainerCheckpoint(registry, reference);
  return isContainers ? await findContainer(registry, reference) : await findVm(registry, reference);
}
