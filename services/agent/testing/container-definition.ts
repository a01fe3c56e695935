import { ContainerSpec } from "#contracts/container/v1/container";
import type { ContainerDefinition } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";

/** A container of the project "default" that sleeps until it is told to end. */
export function containerDefinition(
  image: string,
  change: Partial<ContainerSpec> = {},
  name = "projects/default/containers/test",
): ContainerDefinition {
  const spec = ContainerSpec.fromPartial({ image, command: ["sleep", "1000"], ...change });
  return { name, uid: systemRandom.id("ctr"), spec };
}
