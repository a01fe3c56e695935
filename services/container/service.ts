import { type Container, ContainersDefinition } from "#contracts/container/v1/container";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { createContainerAgents, followObservations } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { createLogger } from "#libs/logger";
import { natsHealth } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { SecretKeys } from "#libs/secrets";
import { type CheckpointPolicy, openWorkloads } from "#libs/workloads";
import type { ContainerConfig } from "./config.ts";
import { containerKind } from "./container-kind.ts";
import { containerHandlers } from "./handlers.ts";
import { containerJobs } from "./jobs/container-jobs.ts";
import { foldObservation } from "./observations.ts";
import { resealAll } from "./reseal.ts";

/** Wires the service together. With `server`, the API is added there and `address` is empty. */
export async function startContainer(
  config: ContainerConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "container", level: config.LOG_LEVEL });
  const { signal } = lifecycle;
  const filter = "rec.projects.*.containers.*";
  const { STILLPOINT_SECRETS_KEY: key } = config;
  const deps = {
    ...(await openWorkloads(config, lifecycle, { kind: containerKind, filter, policy, logger })),
    secretKeys: key === undefined ? undefined : SecretKeys.parse(key),
  };
  await resealAll(deps);
  deps.run(containerJobs(deps), config.OPERATION_TTL_MS);
  const following = followObservations(
    { ...deps, service: "container", filter: "obs.container.>", signal },
    (observation) => foldObservation(deps, observation),
  );
  lifecycle.add("observations", { following }, (it) => it.following);

  const containerAgents = lifecycle.add("container agents", createContainerAgents(deps), (it) => it.close());
  const handlers = containerHandlers({ ...deps, containerAgents });
  if (server !== undefined) {
    server.add(ContainersDefinition, handlers);
    return { address: "" };
  }
  const own = new RpcServer({ logger, health: natsHealth(deps.nats) }).add(ContainersDefinition, handlers);
  lifecycle.add("grpc", own, (it) => it.close());
  return { address: await own.listen(config.CONTAINER_ADDRESS) };
}

const policy: CheckpointPolicy<Container> = {
  ownType: ({ spec }) => spec?.checkpointType ?? CheckpointType.UNSPECIFIED,
  // What memory holds goes together with volumes that stay out: the container's processes know nothing of blocks.
  excludes: () => false,
};
