import type { Container } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { Making } from "#libs/workloads";
import { requirementsOf } from "../domain/build-plan.ts";

/** How a container is made, run and removed on its host. */
export const making: Making<Container> = {
  requirements: (container) => requirementsOf(specOf(container)),
  make: (container) => {
    const { name, uid, imageDigest } = container;
    const spec = { ...specOf(container), image: imageDigest };
    return { $case: "createContainer", value: { definition: { name, uid, spec } } };
  },
  start: { $case: "startContainer", value: {} },
  destroy: { $case: "deleteContainer", value: {} },
};

function specOf({ name, spec }: Container): NonNullable<Container["spec"]> {
  if (spec === undefined) throw new StillpointError("INTERNAL", `the record of ${name} has no spec`);
  return spec;
}
