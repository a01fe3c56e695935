import { Checkpoint, CheckpointsDefinition, Head } from "#contracts/checkpoint/v1/checkpoint";
import { Group, GroupCheckpoint, GroupsDefinition } from "#contracts/checkpoint/v1/group";
import { Project, ProjectsDefinition } from "#contracts/checkpoint/v1/project";
import { SchedulesDefinition } from "#contracts/checkpoint/v1/schedule";
import { Container, ContainersDefinition } from "#contracts/container/v1/container";
import { Host } from "#contracts/scheduler/v1/scheduler";
import { Vm, VmsDefinition } from "#contracts/vm/v1/vm";
import { type Clock, systemClock, systemRandom } from "#libs/clock";
import { registryLogin } from "#libs/config";
import { StillpointError } from "#libs/errors";
import { createHostAgents, followObservations } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger } from "#libs/logger";
import { createRegistryClient } from "#libs/oci";
import { openOperations, startRunner } from "#libs/operations";
import {
  type BodyCodec,
  connectNats,
  createRecordStore,
  type Log,
  natsHealth,
  openStreams,
  type RecordStore,
  RecordView,
} from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import type { CheckpointConfig } from "./config.ts";
import { groupsHandlers } from "./groups/handlers.ts";
import { checkpointsHandlers } from "./handlers.ts";
import { jobsOf } from "./jobs.ts";
import { CheckpointStore } from "./records/checkpoint-store.ts";
import { followDeletedVms } from "./records/deleted-vms.ts";
import { takeDigests } from "./records/digests.ts";
import { workloadCodec } from "./records/workload-record.ts";
import { startRecoveryPoints } from "./recovery/start.ts";
import { projectsHandlers } from "./requests/projects.ts";
import { startSchedules } from "./schedules/start.ts";

/** Its operations are of these services. */
const services = ["checkpoint", "schedule", "recovery"];

/**
 * Wires the service together; only this file knows which Redis, which NATS and which port. With a `server` it adds
 * its methods to that one and does not listen itself; the address is empty then.
 */
export async function startCheckpoint(
  config: CheckpointConfig,
  lifecycle: Lifecycle,
  { server, clock = systemClock }: { readonly server?: RpcServer; readonly clock?: Clock } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "checkpoint", level: config.LOG_LEVEL });
  const nats = await connectNats(config, lifecycle);
  const streams = await openStreams(nats);
  const { signal } = lifecycle;
  const redis = await connectRedis(config, lifecycle);
  const operations = await openOperations({ nats, redis, streams, logger, signal, services });
  const parts = await openRecords(streams.rec, clock, lifecycle);
  const clients = openClients(config, lifecycle, parts.hosts);

  const limit = config.CHECKPOINT_LIMIT;
  const deps = { ...parts, ...clients, operations, clock, random: systemRandom, logger, limit };
  const jobs = jobsOf(deps);
  lifecycle.add("runner", startRunner(operations, { jobs, ttlMs: config.OPERATION_TTL_MS }), (runner) =>
    runner.close(),
  );
  for (const view of [parts.vmView, parts.containerView]) {
    void lifecycle.add("deleted workloads", followDeletedVms({ ...deps, vmView: view, signal }), (loop) => loop);
  }
  const take = takeDigests.bind(undefined, parts.store);
  void lifecycle.add(
    "observations",
    followObservations({ ...deps, service: "checkpoint", filter: "obs.>", nats, signal }, take),
    (loop) => loop,
  );

  const { leases } = operations.deps;
  const schedules = await startSchedules({ ...deps, leases, operationTtlMs: config.OPERATION_TTL_MS }, lifecycle);
  const workloadViews = [parts.vmView, parts.containerView];
  await startRecoveryPoints({ ...deps, workloadViews, operationTtlMs: config.OPERATION_TTL_MS }, lifecycle);
  const add = (to: RpcServer) =>
    to
      .add(CheckpointsDefinition, checkpointsHandlers(deps))
      .add(ProjectsDefinition, projectsHandlers(deps))
      .add(GroupsDefinition, groupsHandlers(deps))
      .add(SchedulesDefinition, schedules);
  if (server !== undefined) {
    add(server);
    return { address: "" };
  }
  const own = add(new RpcServer({ logger, health: natsHealth(nats) }));
  const address = await own.listen(config.CHECKPOINT_ADDRESS);
  lifecycle.add("grpc", own, (listening) => listening.close());
  return { address };
}

/** Whom it asks: the hosts' agents, the VM service and the registry. */
function openClients(config: CheckpointConfig, lifecycle: Lifecycle, hosts: RecordStore<Host>) {
  const vmService = createRpcClient(VmsDefinition, config.VM_ADDRESS ?? config.STILLPOINT_ADDRESS);
  const { CONTAINER_ADDRESS = config.STILLPOINT_ADDRESS } = config;
  const containerService = createRpcClient(ContainersDefinition, CONTAINER_ADDRESS);
  const registry = createRegistryClient({ address: config.REGISTRY_HTTP_URL, login: registryLogin(config) });
  const agents = createHostAgents({ addressOf: agentAddress(hosts) });
  return {
    agents: lifecycle.add("host agents", agents, (opened) => opened.close()),
    vmService: lifecycle.add("vm client", vmService, (client) => client.close()),
    containerService: lifecycle.add("container client", containerService, (client) => client.close()),
    registry: lifecycle.add("registry client", registry, (client) => client.close()),
  };
}

async function openRecords(log: Log, clock: Clock, { signal }: Lifecycle) {
  const open = <Body>(codec: BodyCodec<Body>): RecordStore<Body> =>
    createRecordStore({ log, codec, clock, random: systemRandom });
  return {
    log,
    vms: open<Vm>(workloadCodec),
    containers: open<Container>(Container),
    projects: open<Project>(Project),
    groups: open<Group>(Group),
    groupCheckpoints: open<GroupCheckpoint>(GroupCheckpoint),
    hosts: open<Host>(Host),
    store: new CheckpointStore({ log, checkpoints: open<Checkpoint>(Checkpoint), heads: open<Head>(Head) }),
    containerView: await RecordView.start<Vm>({
      ...{ log, filter: "rec.projects.*.containers.*", codec: workloadCodec, signal },
    }),
    vmView: await RecordView.start<Vm>({ log, filter: "rec.projects.*.vms.*", codec: Vm, signal }),
  };
}

/** Where the agent of a host listens, from the host's record. */
const agentAddress = (hosts: RecordStore<Host>) => async (name: string) => {
  const host = await hosts.get(name);
  if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
  return host.body.agentAddress;
};
