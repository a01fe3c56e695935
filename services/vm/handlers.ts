import { CheckpointType, type SetCheckpointTypeRequest, Vm, type VmsServiceImplementation } from "#contracts/vm/v1/vm";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { parseProject, parseVmName } from "#libs/names";
import { type RecordStore, type RecordView, readPage, type StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import {
  type AcceptDeps,
  type AcceptRecoveryDeps,
  acceptAction,
  acceptDelete,
  acceptRecovery,
  findWorkload,
  type LostDeps,
  markLost,
  notFound,
  type Readiness,
  watchWorkloads,
} from "#libs/workloads";
import { acceptCreate, type CreateDeps } from "./accept-create.ts";
import { type ExecDeps, execInVm } from "./exec.ts";
import { setDrillCommand } from "./set-drill-command.ts";
import { type UpdateDeps, updateVm } from "./update.ts";
import { vmKind } from "./vm-kind.ts";
import { vmEvent } from "./vm-record.ts";

export interface VmDeps extends UpdateDeps, CreateDeps, ExecDeps, AcceptRecoveryDeps<Vm> {
  readonly records: RecordStore<Vm>;
  readonly operations: UpdateDeps["operations"] & LostDeps<Vm>["operations"] & AcceptRecoveryDeps<Vm>["operations"];
  readonly clock: CreateDeps["clock"];
  readonly view: RecordView<Vm>;
  readonly readiness: Readiness<Vm>;
}

const defaultStopSeconds = 60;

/** A VM's life as its users ask for it: each method authorises, checks, and accepts a job or answers at once. */
export function vmHandlers(deps: VmDeps): VmsServiceImplementation<CallScope> {
  const { records, view, readiness } = deps;
  const show = (stored: StoredRecord<Vm>) => readiness.show(stored);
  return {
    async createVm(request, call) {
      authorise(call.principal, "create", request.parent);
      return acceptCreate(deps, request, call);
    },

    async getVm({ name }, { principal }) {
      authorise(principal, "get", name);
      return show(await findWorkload(deps, name));
    },

    async listVms(request, { principal, signal }) {
      const { parent } = request;
      authorise(principal, "list", parent);
      parseProject(parent);
      const { items, ...page } = await readPage(view, request, { prefix: `${parent}/vms/`, show, codec: Vm, signal });
      return { vms: items, ...page };
    },

    async *watchVms({ parent, since }, { principal, signal }) {
      authorise(principal, "watch", parent);
      parseProject(parent);
      const watched = watchWorkloads(vmKind, view, { prefix: `${parent}/vms/`, since, signal, show });
      for await (const { kind, workload: vm, token } of watched) yield { kind, vm, token };
    },

    ...powerHandlers(deps),

    async setCheckpointType(request, { principal }) {
      authorise(principal, "update", request.name);
      return show(await setCheckpointType(records, request));
    },

    async setDrillCommand(request, { principal }) {
      authorise(principal, "update", request.name);
      return show(await setDrillCommand(records, request));
    },

    async recoverVm(request, call) {
      authorise(call.principal, "update", request.name);
      return acceptRecovery(deps, call, request);
    },

    async updateVm(request, call) {
      authorise(call.principal, "update", request.name);
      return show(await updateVm(deps, request, call));
    },

    async markVmLost(request, { principal }) {
      authorise(principal, "delete", request.name);
      return show(await markLost(deps, request));
    },

    async *execVm(request, { principal, signal }) {
      authorise(principal, "exec", request.name);
      yield* execInVm(deps, request, signal);
    },
  };
}

type PowerMethod = "startVm" | "stopVm" | "rebootVm" | "pauseVm" | "resumeVm" | "moveVm" | "deleteVm";

/** What brings a VM into another state, or removes it. */
function powerHandlers(deps: AcceptDeps<Vm>): Pick<VmsServiceImplementation<CallScope>, PowerMethod> {
  return {
    async startVm(request, call) {
      authorise(call.principal, "start", request.name);
      return acceptAction(deps, call, { action: "start", request });
    },

    async stopVm(request, call) {
      authorise(call.principal, "stop", request.name);
      const { force } = request;
      const input = { force, timeoutSeconds: stopSeconds(request) };
      return acceptAction(deps, call, { action: "stop", request, force, input });
    },

    async rebootVm(request, call) {
      authorise(call.principal, "stop", request.name);
      const { force } = request;
      return acceptAction(deps, call, { action: "reboot", request, force, input: { force } });
    },

    async pauseVm(request, call) {
      authorise(call.principal, "stop", request.name);
      return acceptAction(deps, call, { action: "pause", request });
    },

    async resumeVm(request, call) {
      authorise(call.principal, "start", request.name);
      return acceptAction(deps, call, { action: "resume", request });
    },

    async moveVm(request, call) {
      authorise(call.principal, "update", request.name);
      const input = { timeoutSeconds: stopSeconds(request), staysStopped: request.stayStopped };
      return acceptAction(deps, call, { action: "move", request, input });
    },

    async deleteVm(request, call) {
      authorise(call.principal, "delete", request.name);
      return acceptDelete(deps, call, request);
    },
  };
}

function stopSeconds({ timeoutSeconds }: { readonly timeoutSeconds: number }): number {
  if (timeoutSeconds < 0) throw new StillpointError("ARGUMENT_INVALID", "timeout_seconds is below 0");
  return timeoutSeconds === 0 ? defaultStopSeconds : timeoutSeconds;
}

async function setCheckpointType(vms: RecordStore<Vm>, { name, checkpointType }: SetCheckpointTypeRequest) {
  parseVmName(name);
  if (checkpointType === CheckpointType.UNRECOGNIZED) {
    throw new StillpointError("ARGUMENT_INVALID", "checkpoint_type is not known", {
      help: "Use production, production-only, standard, disabled, or default for the project's.",
    });
  }
  const stored = await vms.modify(name, ({ body }) => {
    const from = body.spec?.checkpointType;
    if (body.spec === undefined || from === checkpointType) return undefined;
    const event = vmEvent("checkpoint_type_changed", body, { from, to: checkpointType });
    return { body: { ...body, spec: { ...body.spec, checkpointType } }, events: [event] };
  });
  if (stored === undefined) throw notFound(vmKind, name);
  return stored;
}
