import { CheckpointState, DrillCheckpointRequest, PushCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import { drillCheckpoint } from "../copies/drill.ts";
import { acceptPush } from "../copies/push.ts";
import { type Act, type ActDeps, type Attempt, attempt, callOf } from "./act-on-vm.ts";
import { runChild } from "./child-operations.ts";
import type { Acted } from "./run-state.ts";

interface PushOptions extends Act {
  readonly checkpoint: string;
  readonly reference: string;
}

interface PushTakenOptions extends Omit<PushOptions, "checkpoint"> {
  /** Undefined when none was taken. */
  readonly checkpoint: string | undefined;
}

/** Pushes what was taken of the VM. */
export async function pushTaken(deps: ActDeps, options: PushTakenOptions): Promise<Acted> {
  const { vm, checkpoint } = options;
  if (checkpoint === undefined) return { vm: vm.name, failures: [] };
  const { failure } = await pushCheckpoint(deps, { ...options, checkpoint });
  return { vm: vm.name, failures: failure === undefined ? [] : [{ action: "push", checkpoint, ...failure }] };
}

/** Pushes as PushCheckpoint does. */
export async function pushCheckpoint(deps: ActDeps, options: PushOptions): Promise<Attempt> {
  const { schedule, key, checkpoint: name, reference, signal } = options;
  const ask = (requestId: string) => {
    const call = callOf(schedule, { requestId, signal });
    authorise(call.principal, "get", name);
    return acceptPush(deps, PushCheckpointRequest.fromPartial({ name, reference, requestId }), call);
  };
  return attempt(signal, () => runChild(deps, { key: `${key} push`, ask, signal }));
}

/** Drills as DrillCheckpoint does the newest checkpoint of the VM, with the VM's own command. */
export async function drillNewest(deps: ActDeps, { schedule, vm, key, signal }: Act): Promise<Acted> {
  const { checkpoints } = await deps.store.tree(vm);
  const newest = checkpoints.findLast(({ body }) => body.state === CheckpointState.READY);
  if (newest === undefined) {
    const message = `${vm.name} has no checkpoint to drill`;
    return { vm: vm.name, failures: [{ action: "drill", reason: "CHECKPOINT_NOT_FOUND", message }] };
  }
  const { name } = newest;
  const ask = (requestId: string) => {
    const call = callOf(schedule, { requestId, signal });
    authorise(call.principal, "create", name);
    return drillCheckpoint(deps, DrillCheckpointRequest.fromPartial({ name, requestId }), call);
  };
  const { failure } = await attempt(signal, () => runChild(deps, { key: `${key} drill ${name}`, ask, signal }));
  if (failure === undefined) return { vm: vm.name, proven: name, failures: [] };
  return { vm: vm.name, failures: [{ action: "drill", checkpoint: name, ...failure }] };
}
