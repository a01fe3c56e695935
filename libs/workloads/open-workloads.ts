import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { Project } from "#contracts/checkpoint/v1/project";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { Host, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { createHostAgents } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import type { Logger } from "#libs/logger";
import { recoveryName } from "#libs/names";
import { type Job, openOperations, startRunner } from "#libs/operations";
import { connectNats, createRecordStore, type Log, openStreams, RecordView } from "#libs/records";
import { createRpcClient } from "#libs/rpc";
import { countCheckpointsIn } from "./checkpoint-count.ts";
import type { WorkloadBody, WorkloadKind } from "./kind.ts";
import { type CheckpointPolicy, type PointOf, Readiness, typeOfProject } from "./readiness.ts";

export interface WorkloadsConfig {
  readonly NATS_URL: string;
  readonly REDIS_URL: string;
  readonly STILLPOINT_ADDRESS: string;
  readonly SCHEDULER_ADDRESS?: string | undefined;
  readonly REGISTRY_ADDRESS?: string | undefined;
}

export interface OpenWorkloads<Body extends WorkloadBody> {
  readonly kind: WorkloadKind<Body>;
  /** Subjects of its records: rec.projects.*.vms.* */
  readonly filter: string;
  readonly policy: CheckpointPolicy<Body>;
  readonly logger: Logger;
}

/** What the service of a kind of workload stands on: records and a view of them, operations, and whom it asks. */
export async function openWorkloads<Body extends WorkloadBody>(
  config: WorkloadsConfig,
  lifecycle: Lifecycle,
  { kind, filter, policy, logger }: OpenWorkloads<Body>,
) {
  const { signal } = lifecycle;
  const nats = await connectNats(config, lifecycle);
  const streams = await openStreams(nats);
  const { rec: log } = streams;
  const redis = await connectRedis(config, lifecycle);
  const operations = await openOperations({ nats, redis, streams, logger, signal, services: [kind.word] });
  const projects = await RecordView.start({ log, filter: "rec.projects.*", codec: Project, signal });
  const states = await RecordView.start({ log, filter: `${filter}.recovery`, codec: RecoveryState, signal });
  const pointOf: PointOf = (workload, uid) => {
    const state = states.get(recoveryName(workload))?.body;
    return state?.workloadUid === uid ? state.point : undefined;
  };
  const addressOf = await followAgentAddresses(log, signal);
  return {
    ...{ kind, nats, operations, clock, random, logger, addressOf },
    ...openClients(config, lifecycle),
    agents: lifecycle.add("host agents", createHostAgents({ addressOf }), (it) => it.close()),
    records: createRecordStore({ log, codec: kind.codec, clock, random }),
    hosts: createRecordStore({ log, codec: Host, clock, random }),
    recoveryStates: createRecordStore({ log, codec: RecoveryState, clock, random }),
    view: await RecordView.start({ log, filter, codec: kind.codec, signal }),
    countCheckpoints: countCheckpointsIn(log),
    readiness: new Readiness(kind, policy, { inherited: typeOfProject(kind, projects), pointOf }),
    /** Runs jobs until the lifecycle ends. */
    run(jobs: Job[], ttlMs: number): void {
      lifecycle.add(`${kind.word} runner`, startRunner(operations, { jobs, ttlMs }), (it) => it.close());
    },
  };
}

function openClients(config: WorkloadsConfig, lifecycle: Lifecycle) {
  const scheduler = createRpcClient(SchedulerDefinition, config.SCHEDULER_ADDRESS ?? config.STILLPOINT_ADDRESS);
  const images = createRpcClient(ImagesDefinition, config.REGISTRY_ADDRESS ?? config.STILLPOINT_ADDRESS);
  return {
    scheduler: lifecycle.add("scheduler client", scheduler, (it) => it.close()),
    images: lifecycle.add("images client", images, (it) => it.close()),
  };
}

/** Agents are found by their host's record, which follows them when they come back elsewhere. */
async function followAgentAddresses(log: Log, signal: AbortSignal) {
  const hosts = await RecordView.start({ log, filter: "rec.hosts.*", codec: Host, signal });
  return async (name: string): Promise<string> => {
    // A workload may be placed on a host that has joined a moment ago.
    if (hosts.get(name) === undefined) await hosts.catchUp();
    const host = hosts.get(name);
    if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
    return host.body.agentAddress;
  };
}
