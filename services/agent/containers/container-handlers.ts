import { ContainerState } from "#contracts/container/v1/container";
import type { ContainerAgentServiceImplementation } from "#contracts/host/v1/container_agent";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import type { ContainerParts } from "./container-parts.ts";
import { execInContainer } from "./exec.ts";
import { containerLogs } from "./logs.ts";

/** What the agent tells of containers and runs in them. @param host hosts/<host> */
export function createContainerHandlers(
  parts: ContainerParts,
  host: string,
): ContainerAgentServiceImplementation<CallScope> {
  return {
    async *getContainerLogs(request, { principal, signal }) {
      authorise(principal, "get", host);
      parts.requireEngine();
      yield* containerLogs({ ...parts, signal }, request);
    },

    async *execContainer(requests, { principal, signal }) {
      authorise(principal, "use", host);
      parts.requireEngine();
      yield* execInContainer({ ...parts, signal }, requests);
    },

    async *getContainerStats({ name, follow }, { principal, signal }) {
      authorise(principal, "get", host);
      parts.requireEngine();
      const container = parts.containers.get(name);
      const { state } = container.status;
      if (state !== ContainerState.RUNNING && state !== ContainerState.PAUSED) {
        throw new StillpointError("CONTAINER_STATE", `${container.name} does not run and uses nothing`);
      }
      yield* parts.engine.stats(container.uid, { follow, signal });
    },
  };
}
