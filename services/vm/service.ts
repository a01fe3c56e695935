import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { Project } from "#contracts/checkpoint/v1/project";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { Host, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { Vm, VmsDefinition } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { createHostAgents, followObservations } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger } from "#libs/logger";
import { openOperations, startRunner } from "#libs/operations";
import {
  connectNats,
  createRecordStore,
  decodeRecord,
  natsHealth,
  openStreams,
  RecordView,
  type Streams,
  subjectOfName,
} from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import type { VmConfig } from "./config.ts";
import { vmHandlers } from "./handlers.ts";
import { vmJobs } from "./jobs/vm-jobs.ts";
import { Observations } from "./observations.ts";
import { showWith, typeOfProject } from "./readiness.ts";

/** Wires the service together. With `server`, the API is added there and `address` is empty. */
export async function startVm(
  config: VmConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "vm", level: config.LOG_LEVEL });
  const { signal } = lifecycle;
  const nats = await connectNats(config, lifecycle);
  const streams = await openStreams(nats);
  const redis = await connectRedis(config, lifecycle);
  const operations = await openOperations({ nats, redis, streams, logger, signal });
  const vms = createRecordStore({ log: streams.rec, codec: Vm, clock, random });
  const agents = await hostAgents(streams, signal);
  const scheduler = createRpcClient(SchedulerDefinition, config.SCHEDULER_ADDRESS ?? config.STILLPOINT_ADDRESS);
  const images = createRpcClient(ImagesDefinition, config.REGISTRY_ADDRESS ?? config.STILLPOINT_ADDRESS);
  lifecycle.add("clients", [scheduler, images], (clients) => {
    for (const client of clients) client.close();
  });

  const view = await RecordView.start({ log: streams.rec, filter: "rec.projects.*.vms.*", codec: Vm, signal });
  const runner = startRunner(operations, {
    jobs: vmJobs({ vms, scheduler, agents }),
    ttlMs: config.OPERATION_TTL_MS,
  });
  lifecycle.add("vm runner", runner, (it) => it.close());
  const projects = await RecordView.start({ log: streams.rec, filter: "rec.projects.*", codec: Project, signal });
  const inherited = typeOfProject(projects);
  const observations = new Observations({ vms, agents, typeOfProject: inherited });
  const following = followObservations({ service: "vm", nats, clock, logger, signal }, (...seen) =>
    observations.fold(...seen),
  );
  lifecycle.add("observations", { following }, (it) => it.following);

  const countCheckpoints = async (vm: string) => {
    const newest = await streams.rec.newest(`${subjectOfName(vm)}.checkpoints.*`);
    const records = newest.map(({ data }) => decodeRecord(data)).filter(({ deleted }) => deleted !== true);
    const guarded = records.filter(({ body }) => Checkpoint.fromJSON(body).protected).length;
    return { all: records.length, guarded };
  };
  const show = showWith(inherited);
  const handlers = vmHandlers({ vms, view, show, countCheckpoints, operations, images, agents, clock, random });
  if (server !== undefined) {
    server.add(VmsDefinition, handlers);
    return { address: "" };
  }
  const own = new RpcServer({ logger, health: natsHealth(nats) }).add(VmsDefinition, handlers);
  lifecycle.add("grpc", own, (it) => it.close());
  return { address: await own.listen(config.VM_ADDRESS) };
}

/** Agents are found by their host's record, which follows them when they come back elsewhere. */
async function hostAgents({ rec }: Streams, signal: AbortSignal) {
  const hosts = await RecordView.start({ log: rec, filter: "rec.hosts.*", codec: Host, signal });
  return createHostAgents({
    addressOf(name) {
      const host = hosts.get(name);
      if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
      return host.body.agentAddress;
    },
  });
}
