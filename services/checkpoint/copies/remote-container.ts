import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { ContainerSpec } from "#contracts/container/v1/container";
import { findRemoteContainer, type RegistryClient, readReceipt } from "#libs/oci";
import { told } from "./remote-checkpoint.ts";

/** What a container's checkpoint in the registry says of itself. */
export interface FoundRemoteContainer {
  readonly kind: "container";
  /** <repository>@sha256:... */
  readonly reference: string;
  readonly checkpoint: Checkpoint;
  /** The container that it was taken of, without ports and secrets. */
  readonly spec: ContainerSpec;
}

/** As `findVm`, for a reference that names a container's checkpoint. */
export async function findContainer(registry: RegistryClient, reference: string): Promise<FoundRemoteContainer> {
  const { repository, descriptor, config, volumes } = await findRemoteContainer(registry, reference);
  const receipt = await readReceipt(registry, { repository, digest: descriptor.digest });
  const here = { host: "", hostSelector: {}, ports: [], secrets: [] };
  const spec = ContainerSpec.fromPartial({ ...ContainerSpec.fromJSON(config.spec), ...here });
  const held = new Set(volumes.map(({ id }) => id));
  const named = spec.volumes.map(({ volume }) => volume).filter((volume) => volume !== "");
  return {
    kind: "container",
    reference: `${repository}@${descriptor.digest}`,
    checkpoint: Checkpoint.fromPartial({
      ...told(config, receipt),
      excludedDisks: named.filter((volume) => !held.has(volume)),
    }),
    spec,
  };
}
