import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { PushOutcome } from "#contracts/host/v1/agent";
import { Host, HostState, type PlaceResponse, Requirements } from "#contracts/scheduler/v1/scheduler";
import { Recovery, Vm, VmState } from "#contracts/vm/v1/vm";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { HostAgents, WorkloadOnHost } from "#libs/host-agent";
import type { Job, Operations } from "#libs/operations";
import { createRecordStore, type Log, type RecordStore } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import {
  acceptAction,
  acceptDelete,
  acceptRecovery,
  createJob,
  deleteJob,
  moveJob,
  type RecoverDeps,
  recoverJob,
  type WorkloadJobDeps,
} from "#libs/workloads";
import type { Reservation } from "../../../services/scheduler/domain/host.ts";
import type { Release } from "../../../services/scheduler/domain/ledger.ts";
import { toNeeds } from "../../../services/scheduler/hosts/written.ts";
import { making } from "../../../services/vm/jobs/making.ts";
import { moving } from "../../../services/vm/jobs/moving.ts";
import { vmKind } from "../../../services/vm/vm-kind.ts";
import type { SimRandom } from "../sim-clock.ts";
import type { SimProcess } from "../sim-process.ts";
import { gib } from "./host-size.ts";
import type { Mutations } from "./mutations.ts";
import type { SimHost } from "./sim-host.ts";
import type { SimNet } from "./sim-net.ts";

export interface VmWorld {
  readonly random: SimRandom;
  readonly net: SimNet;
  readonly mutations: Mutations;
  host(name: string): SimHost | undefined;
  /** Of a VM's newest incarnation. */
  uidOf(name: string): string;
  place(wanted: Reservation): Promise<PlaceResponse>;
  release(given: Release, host: string | undefined): Promise<void>;
}

/** What a replica accepts with. */
export interface VmGateway {
  readonly operations: Operations;
  readonly records: RecordStore<Vm>;
  readonly hosts: RecordStore<Host>;
  readonly process: SimProcess;
  readonly mutations: Mutations;
}

const STEP_MS = 3_000;

/** The jobs of VMs, as the VM service has them, over a simulated scheduler's API and simulated agents. */
export function vmJobsOf(world: VmWorld, process: SimProcess, log: Log, address: string): Job[] {
  const deps: WorkloadJobDeps<Vm> = {
    kind: vmKind,
    records: createRecordStore({ log, codec: vmKind.codec, clock: process.clock, random: world.random }),
    scheduler: {
      async place({ workload = "", uid = "", operation = "", epoch = 0, requirements }) {
        const needs = toNeeds(Requirements.fromPartial(requirements ?? {}));
        return await process.port(() => world.place({ workload, uid, operation, epoch, requirements: needs }));
      },
      async release({ uid = "", host = "", epoch = 0 }) {
        await process.port(() => world.release({ uid, epoch }, host === "" ? undefined : host));
        return {};
      },
    },
    agents: agentsOf(world, process, address),
  };
  const hosts = createRecordStore({ log, codec: Host, clock: process.clock, random: world.random });
  const recovering: RecoverDeps<Vm> = {
    ...{ ...deps, moving, clock: process.clock, recoveryStates: { get: pointFor(world) } },
    hosts: looked(hosts, world.mutations),
  };
  const move = moveJob({ ...recovering, countCheckpoints, images: { deleteImage: async () => ({}) } });
  return [createJob(deps, making), move, recoverJob(recovering), deleteJob(deps, making.destroy)] as Job[];
}

/** Every VM has a point in a registry that nothing happens to. */
function pointFor(world: VmWorld): RecoverDeps<Vm>["recoveryStates"]["get"] {
  return async (name) => {
    const uid = world.uidOf(name.slice(0, -"/recovery".length));
    const point = { checkpoint: "sim", reference: "sim@sha256:0", time: new Date(0) };
    const body = RecoveryState.fromPartial({ name, workloadUid: uid, point });
    return { name, uid, operation: undefined, body, version: 1, time: new Date(0), raw: {} };
  };
}

function looked(hosts: RecordStore<Host>, { unseenHosts }: Mutations): Pick<RecordStore<Host>, "get"> {
  if (unseenHosts !== true) return hosts;
  return {
    async get(name) {
      const stored = await hosts.get(name);
      return stored && { ...stored, body: { ...stored.body, state: HostState.DOWN } };
    },
  };
}

function agentsOf(world: VmWorld, process: SimProcess, address: string): HostAgents {
  const ask = async <Answer>({ host }: WorkloadOnHost, work: (host: SimHost) => Promise<Answer>): Promise<Answer> => {
    const asked = world.host(host);
    if (asked === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no ${host}`);
    return await process.port(() => world.net.call(address, host, STEP_MS, () => work(asked)).catch(unreachable));
  };
  const never = () => {
    throw new Error("nothing simulated asks for that");
  };
  return {
    async runStep(context, at, step, action) {
      await ask(at, (host) => host.step(context, at.uid, step, action));
      const pushed = action.$case === "pushCheckpoint" ? PushOutcome.fromPartial({ digest: "sha256:0" }) : undefined;
      return { workload: undefined, checkpoint: undefined, pushed };
    },
    getWorkload: (at) => ask(at, async (host) => host.find(at.uid)),
    ...{ settle: never, inspectReadiness: never, exec: never, close: () => undefined },
  };
}

function unreachable(error: unknown): never {
  if (!isStillpointError(error, "UNAVAILABLE")) throw error;
  throw new StillpointError("HOST_UNREACHABLE", error.message);
}

/** As the VM service accepts it, but for images and secrets. */
export async function acceptCreate(operations: Operations, name: string, uid: string, requestId: string) {
  const spec = { cpus: 1, memoryBytes: gib / 2, rootSizeBytes: gib, recovery: Recovery.RESTART };
  const body = Vm.fromPartial({ name, uid, state: VmState.CREATING, spec });
  const request = { kind: "vm.create", target: name, input: { uid, start: true }, fingerprint: {}, requestId };
  const create = { uid, body };
  return await operations.accept<Vm>(
    { ...request, principal: "client", project: "sim" },
    { create, codec: vmKind.codec, existsReason: "VM_EXISTS" },
  );
}

/** As the VM service accepts it. */
export async function acceptRemoval({ operations, records }: VmGateway, name: string, requestId: string) {
  const deps = { kind: vmKind, records, operations, countCheckpoints };
  const request = { name, requestId, force: true, withCheckpoints: false, withProtected: false };
  return await acceptDelete<Vm>(deps, call("client"), request);
}

/** As the VM service accepts it. */
export async function acceptMove({ operations, records }: VmGateway, name: string, requestId: string) {
  const deps = { kind: vmKind, records, operations, countCheckpoints };
  const input = { timeoutSeconds: 30, staysStopped: false };
  return await acceptAction<Vm>(deps, call("client"), { action: "move", request: { name, requestId }, input });
}

export async function acceptRecover(
  { operations, records, hosts, process, mutations }: VmGateway,
  asked: { readonly name: string; readonly host: string; readonly requestId: string },
) {
  const deps = {
    kind: vmKind,
    records,
    operations,
    countCheckpoints,
    hosts: looked(hosts, mutations),
    clock: process.clock,
  };
  return await acceptRecovery<Vm>(deps, call("scheduler"), asked);
}

const countCheckpoints = async () => ({ all: 0, guarded: 0, points: 0 });
const call = (name: string) => ({ principal: { name, kind: "service" }, requestId: "" }) as unknown as CallScope;
