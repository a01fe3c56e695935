import type { UpdateVmRequest, Vm } from "#contracts/vm/v1/vm";
import { type Operations, succeeded } from "#libs/operations";
import type { StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { type AcceptDeps, acceptAction, findWorkload, notFound, refuseProblems } from "#libs/workloads";
import { changePolicies, changeRecovery } from "./change-policies.ts";
import { policyProblems } from "./domain/validate-spec.ts";
import { vmKind } from "./vm-kind.ts";

export interface UpdateDeps extends AcceptDeps<Vm> {
  readonly operations: Pick<Operations, "accept" | "repeated" | "watch">;
}

/** Changes what happens when its host fails or is drained; when this resolves, its host knows of it too. */
export async function updateVm(deps: UpdateDeps, request: UpdateVmRequest, call: CallScope): Promise<StoredRecord<Vm>> {
  const { name, recovery } = request;
  const { body } = await findWorkload(deps, name);
  if (body.spec !== undefined) refuseProblems(policyProblems("", { ...body.spec, ...present(request) }));
  if (recovery !== undefined && changeRecovery(body, recovery).events.length > 0) {
    const input = { recovery };
    const asked = { action: "update", request: { name, requestId: "" }, input };
    await succeeded(deps.operations, await acceptAction(deps, call, asked), call.signal);
  }
  const changed = await deps.records.modify(name, (stored) => changePolicies(stored.body, request));
  if (changed === undefined) throw notFound(vmKind, name);
  return changed;
}

const present = (request: UpdateVmRequest) =>
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined)) as Partial<UpdateVmRequest>;
