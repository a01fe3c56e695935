import type { Container } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { SecretKeys } from "#libs/secrets";
import { containerRequirements, type Making } from "#libs/workloads";
import { openSecrets } from "../sealed-secrets.ts";

export interface MakingDeps {
  readonly secretKeys: SecretKeys | undefined;
}

export const destroy: AgentAction = { $case: "deleteContainer", value: {} };

/** How a container is made, run and removed on its host. */
export function makingWith({ secretKeys }: MakingDeps): Making<Container> {
  return {
    requirements: (container) => containerRequirements(specOf(container)),
    make: (container, start) => {
      const { name, uid, imageDigest } = container;
      const spec = { ...specOf(openSecrets(secretKeys, container)), image: imageDigest };
      return { $case: "createContainer", value: { definition: { name, uid, spec }, start } };
    },
    destroy,
  };
}

function specOf({ name, spec }: Container): NonNullable<Container["spec"]> {
  if (spec === undefined) throw new StillpointError("INTERNAL", `the record of ${name} has no spec`);
  return spec;
}
