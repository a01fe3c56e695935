import type { CheckpointsServiceImplementation } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import type { Operations } from "#libs/operations";
import type { CallScope } from "#libs/rpc";
import type { AcceptDeps } from "./accept.ts";
import { acceptApply, acceptDelete } from "./accept-change.ts";
import { acceptCreate } from "./accept-create.ts";
import { cloneHandlers } from "./clone-handlers.ts";
import { findCheckpoint, findVm, toApi } from "./find-checkpoint.ts";
import { protectCheckpoint } from "./protect.ts";
import { acceptPush } from "./push.ts";
import { checkReadiness, type ReadinessDeps } from "./readiness.ts";
import { renameCheckpoint } from "./rename.ts";

export interface HandlerDeps extends AcceptDeps, ReadinessDeps {
  readonly operations: Pick<Operations, "accept" | "repeated" | "get">;
}

/** Checks a request, and accepts it as an operation that holds the VM. */
export function checkpointsHandlers(deps: HandlerDeps): CheckpointsServiceImplementation<CallScope> {
  return {
    async createCheckpoint(request, call) {
      authorise(call.principal, "create", request.parent);
      return acceptCreate(deps, request, call);
    },

    async getCheckpoint({ name }, { principal }) {
      authorise(principal, "get", name);
      const { checkpoint } = await findCheckpoint(deps, name);
      return toApi(checkpoint);
    },

    async listCheckpoints({ parent }, { principal }) {
      authorise(principal, "list", parent);
      const vm = await findVm(deps, parent);
      const { checkpoints, head } = await deps.store.tree({ name: parent, uid: vm.uid });
      return { checkpoints: checkpoints.map(toApi), ...(head === undefined ? {} : { head: head.body }) };
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
