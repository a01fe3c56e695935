import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { Workload, type WorkloadState } from "#contracts/host/v1/agent";
import type { Operation } from "#contracts/operation/v1/operation";
import { Recovery, Vm, VmState } from "#contracts/vm/v1/vm";
import { type Clock, systemClock, systemRandom } from "#libs/clock";
import { MemoryLeases } from "#libs/locks";
import { silentLogger } from "#libs/logger";
import { MemoryJobQueue, MemoryJobState, Operations, startRunner } from "#libs/operations";
import {
  createMemoryLog,
  createRecordStore,
  decodeRecord,
  type Json,
  type MemoryLog,
  type RecordEvent,
} from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { acceptAction, acceptDelete, acceptRecovery, type MoveDeps, markLost, type RecoverDeps } from "#libs/workloads";
import { vmJobs } from "../jobs/vm-jobs.ts";
import { vmKind } from "../vm-kind.ts";
import { foldWorkload } from "../vm-record.ts";
import { StageHosts } from "./stage-hosts.ts";

const name = "projects/default/vms/db";
const uid = "vm-1";

/**
 * The VM service's real jobs on operations and records in memory, and a VM that runs on n1. Their clock runs as fast as it
 * is slept on.
 */
export async function startRecoveryStage({
  hasPoint = true,
  pointTime = new Date(0),
  attempts = 20,
  vm = {} as Partial<Vm>,
} = {}) {
  const stop = new AbortController();
  const log = createMemoryLog(systemClock);
  const operations = await startOperations(log, stop.signal);
  const hosts = new StageHosts();
  const events: RecordEvent[] = [];
  log.onAppend = ({ data }) => void events.push(...decodeRecord(data).events);
  const records = createRecordStore({ log, codec: Vm, clock: systemClock, random: systemRandom });
  const deps: Omit<MoveDeps<Vm> & RecoverDeps<Vm>, "moving"> = {
    ...{ kind: vmKind, records, hosts, agents: hosts.agents, scheduler: hosts.scheduler, clock: fastClock() },
    recoveryStates: { get: async (of) => pointOf(of, hasPoint ? pointTime : undefined) },
    images: { deleteImage: async () => ({}) },
    countCheckpoints: async () => ({ all: 0, guarded: 0, points: 0 }),
  };
  const runner = startRunner(operations, { jobs: vmJobs(deps), worker: "w", retry: { attempts, forMs: 60_000 } });
  const spec = { cpus: 1, recovery: Recovery.RESTART };
  const body = Vm.fromPartial({ name, uid, host: "hosts/n1", state: VmState.RUNNING, spec, ...vm });
  await records.create(name, { uid, body });
  const accepting = { ...deps, operations };
  let requests = 0;
  const request = () => ({ name, requestId: `request-${++requests}` });
  return {
    ...{ operations, hosts, events },
    vm: async () => (await records.get(name))?.body,
    /** As its host says it is, and why. */
    fold: (state: WorkloadState, reason: string) =>
      records.modify(name, ({ body }) => foldWorkload(body, Workload.fromPartial({ uid, state }), reason)),
    holder: async () => (await records.get(name))?.operation,
    recover: (from: string) => acceptRecovery<Vm>(accepting, call, { ...request(), host: `hosts/${from}` }),
    ask: (action: string, input: Json = {}) => acceptAction<Vm>(accepting, call, { action, request: request(), input }),
    remove: () =>
      acceptDelete<Vm>(accepting, call, {
        ...{ ...request(), force: true, withCheckpoints: false, withProtected: false },
      }),
    lose: (host: string) => markLost<Vm>({ ...deps, operations }, { name, uid, host: `hosts/${host}` }),
    ended: async (operation: Pick<Operation, "name">) => {
      let last: Operation | undefined;
      const id = operation.name.slice("operations/".length);
      for await (const seen of operations.watch(id, new AbortController().signal)) last = seen;
      return last;
    },
    async [Symbol.asyncDispose]() {
      await runner.close();
      stop.abort();
    },
  };
}

const call = { principal: { name: "test", kind: "service" }, requestId: "" } as unknown as CallScope;

function startOperations(records: MemoryLog, signal: AbortSignal): Promise<Operations> {
  const [clock, random] = [systemClock, systemRandom];
  return Operations.start({
    ...{ records, clock, random, signal, logger: silentLogger, ops: createMemoryLog(clock, { maxPerSubject: 1 }) },
    ...{ jobs: new MemoryJobQueue(clock), jobState: new MemoryJobState() },
    leases: new MemoryLeases({ clock, random }),
  });
}

function pointOf(of: string, time: Date | undefined) {
  const point = { checkpoint: `${name}/checkpoints/c`, reference: "recovery/default/db@sha256:1", time };
  const body = RecoveryState.fromPartial({ name: of, workloadUid: uid, ...(time === undefined ? {} : { point }) });
  return { name: of, uid, operation: undefined, version: 1, time: new Date(), raw: {}, body };
}

function fastClock(): Clock {
  let nowMs = 0;
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      nowMs += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
