import type { CheckpointsServiceImplementation, CreateCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { Operations } from "#libs/operations";
import type { CallScope } from "#libs/rpc";
import { cloneHandlers } from "./copies/clone-handlers.ts";
import type { PullDeps } from "./copies/pull.ts";
import { acceptPush } from "./copies/push.ts";
import type { AcceptDeps } from "./requests/accept.ts";
import { acceptApply, acceptDelete } from "./requests/accept-change.ts";
import { acceptCreate } from "./requests/accept-create.ts";
import { findCheckpoint, findVm, toApi } from "./requests/find-checkpoint.ts";
import { protectCheckpoint } from "./requests/protect.ts";
import { checkReadiness, type ReadinessDeps } from "./requests/readiness.ts";
import { renameCheckpoint } from "./requests/rename.ts";
import { type StorageDeps, storageOf, withSizes } from "./requests/storage.ts";

export interface HandlerDeps extends AcceptDeps, ReadinessDeps, StorageDeps, PullDeps {
  readonly agents: ReadinessDeps["agents"] & StorageDeps["agents"];
  readonly operations: Pick<Operations, "accept" | "repeated" | "get">;
}

/** Checks a request, and accepts it as an operation that holds the VM. */
export function checkpointsHandlers(deps: HandlerDeps): CheckpointsServiceImplementation<CallScope> {
  return {
    async createCheckpoint(request, call) {
      authorise(call.principal, "create", request.parent);
      checkOwner(request);
      return acceptCreate(deps, request, call);
    },

    async getCheckpoint({ name }, { principal }) {
      authorise(principal, "get", name);
      const { vm, checkpoint } = await findCheckpoint(deps, name);
      return withSizes(toApi(checkpoint), await storageOf(deps, vm));
    },

    async listCheckpoints({ parent }, { principal }) {
      authorise(principal, "list", parent);
      const vm = await findVm(deps, parent);
      const [tree, storage] = await Promise.all([deps.store.tree({ name: parent, uid: vm.uid }), storageOf(deps, vm)]);
      const checkpoints = tree.checkpoints.map((stored) => withSizes(toApi(stored), storage));
      const head = tree.head === undefined ? {} : { head: tree.head.body };
      return { checkpoints, ...head, ...(storage === undefined ? {} : { storage }) };
    },

    async applyCheckpoint(request, call) {
      authorise(call.principal, "apply", request.name);
      return acceptApply(deps, request, call);
    },

    async deleteCheckpoint(request, call) {
      authorise(call.principal, "delete", request.name);
      return acceptDelete(deps, request, call);
    },

    ...cloneHandlers(deps),

    async pushCheckpoint(request, call) {
      authorise(call.principal, "get", request.name);
      return acceptPush(deps, request, call);
    },

    async renameCheckpoint(request, call) {
      authorise(call.principal, "update", request.name);
      return renameCheckpoint(deps, request);
    },

    async protectCheckpoint(request, call) {
      authorise(call.principal, "update", request.name);
      return protectCheckpoint(deps, request);
    },

    async checkReadiness({ name }, { principal, signal }) {
      authorise(principal, "get", name);
      return checkReadiness(deps, name, signal);
    },
  };
}

/** Only what runs a schedule or a group may say that a checkpoint is theirs: it is deleted with the others. */
function checkOwner({ schedule, groupCheckpoint }: CreateCheckpointRequest): void {
  if (schedule === "" && groupCheckpoint === "") return;
  throw new StillpointError("ARGUMENT_INVALID", "schedule and group_checkpoint are for services only", {
    help: "Leave them empty, or run the schedule: stillpoint schedule run NAME",
  });
}
