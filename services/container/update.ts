import {
  type Container,
  RestartPolicy,
  RestartPolicy_Mode,
  type UpdateContainerRequest,
} from "#contracts/container/v1/container";
import { CheckpointType, Recovery } from "#contracts/vm/v1/vm";
import { type Operations, succeeded } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { labelProblems } from "#libs/spec-checks";
import { type AcceptDeps, acceptAction, findWorkload, notFound, refuseProblems, refuseUnless } from "#libs/workloads";
import { changeRecovery, changeRestart, changeSettings, labelsAfter } from "./change-settings.ts";
import { containerKind } from "./container-kind.ts";
import { setRecovery } from "./domain/container-state.ts";
import { policyProblems, restartProblems } from "./domain/validate-spec.ts";

export interface UpdateDeps extends AcceptDeps<Container> {
  readonly operations: Pick<Operations, "accept" | "repeated" | "watch">;
}

/** Changes what may change while a container lives; when this resolves, its host knows of it too. */
export async function updateContainer(
  deps: UpdateDeps,
  request: UpdateContainerRequest,
  call: CallScope,
): Promise<StoredRecord<Container>> {
  const { name, restart, recovery } = request;
  const stored = await findWorkload(deps, name);
  refuseUnless(containerKind, stored, "update");
  refuseProblems(problems(stored.body, request));
  if (recovery !== undefined && changeRecovery(stored.body, recovery).events.length > 0) {
    refuseUnless(containerKind, stored, setRecovery);
    await updateOnHost(deps, call, name, { recovery: recovery === Recovery.RESTART ? recovery : Recovery.NONE });
  }
  if (restart !== undefined) await updateRestart(deps, call, stored.body, restart);
  const changed = await deps.records.modify(name, ({ body }) => changeSettings(body, request));
  if (changed === undefined) throw notFound(containerKind, name);
  return changed;
}

function problems({ labels, spec }: Container, request: UpdateContainerRequest) {
  const { checkpointType, restart, labels: change, recovery, recoveryPoint } = request;
  const isKnown = checkpointType !== CheckpointType.UNRECOGNIZED;
  const field = "checkpoint_type";
  return [
    ...(isKnown ? [] : [{ field, message: "must be production, production-only, standard, disabled or default" }]),
    ...restartProblems("restart", restart),
    ...labelProblems("labels", labelsAfter(labels, change)),
    ...(spec === undefined
      ? []
      : policyProblems("", {
          ...spec,
          recovery: recovery ?? spec.recovery,
          recoveryPoint: recoveryPoint ?? spec.recoveryPoint,
        })),
  ];
}

async function updateRestart(deps: UpdateDeps, call: CallScope, container: Container, asked: RestartPolicy) {
  const isUnsaid = asked.mode === RestartPolicy_Mode.UNSPECIFIED;
  const restart = { ...asked, mode: isUnsaid ? RestartPolicy_Mode.NO : asked.mode };
  if (changeRestart(container, restart).events.length === 0) return;
  await updateOnHost(deps, call, container.name, { restart: RestartPolicy.toJSON(restart) as Json });
}

async function updateOnHost(deps: UpdateDeps, call: CallScope, name: string, input: Json): Promise<void> {
  const request = { name, requestId: "" };
  await succeeded(deps.operations, await acceptAction(deps, call, { action: "update", request, input }), call.signal);
}
