import { type Container, ContainerSpec } from "#contracts/container/v1/container";
import type { ContainerDefinition } from "#contracts/host/v1/agent";
import type { AgentAction } from "#libs/host-agent";
import type { Json } from "#libs/records";
import type { Moving } from "#libs/workloads";
import { withoutSecrets } from "../container-record.ts";
import { whyBound } from "../domain/movable.ts";
import { destroy, type MakingDeps, makingWith } from "./making.ts";

/** How a container is taken from one host and made on another. */
export function movingWith(deps: MakingDeps): Moving<Container> {
  const making = makingWith(deps);
  return {
    requirements: (container) => making.requirements(container),
    isLive: (state) => ["RUNNING", "RESTARTING", "PAUSED"].includes(state.replace("CONTAINER_STATE_", "")),
    whyBound: ({ spec }, checkpoints) => spec && whyBound(spec, checkpoints),
    boundReason: "CONTAINER_NOT_MOVABLE",
    repository: "container-checkpoints/moves",
    stop: (timeoutSeconds) => ({ $case: "stopContainer", value: { timeoutSeconds } }),
    start: { $case: "startContainer", value: {} },
    make: (container, reference) => standingOn(reference, making.make(container, false)),
    // What it has written beside volumes is none of its data.
    anew: (container) => {
      const { spec, imageDigest } = container;
      return imageDigest === "" || (spec?.volumes.length ?? 0) > 0 ? undefined : making.make(container, false);
    },
    destroy,
    told(container) {
      const { spec } = withoutSecrets(container);
      const whole = ContainerSpec.fromPartial({ ...spec, secrets: [], image: container.imageDigest });
      return ContainerSpec.toJSON(whole) as Json;
    },
  };
}

function standingOn(fromCheckpoint: string, action: AgentAction): AgentAction {
  const definition: ContainerDefinition | undefined =
    action.$case === "createContainer" ? action.value.definition : undefined;
  if (definition?.spec === undefined) return action;
  const whole = { ...definition, spec: { ...definition.spec, fromCheckpoint } };
  return { $case: "createContainer", value: { definition: whole, start: false } };
}
