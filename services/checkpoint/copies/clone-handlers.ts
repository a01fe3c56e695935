import type { CheckpointsServiceImplementation } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import type { CallScope } from "#libs/rpc";
import { cloneCheckpoint } from "./clone.ts";
import { drillCheckpoint } from "./drill.ts";
import { type PullDeps, pullCheckpoint } from "./pull.ts";

type CloneMethod = "cloneCheckpoint" | "pullCheckpoint" | "drillCheckpoint";

/** What makes a VM, or a checkpoint of one, from a checkpoint. */
export function cloneHandlers(deps: PullDeps): Pick<CheckpointsServiceImplementation<CallScope>, CloneMethod> {
  return {
    async cloneCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      return cloneCheckpoint(deps, request, call);
    },

    async pullCheckpoint(request, call) {
      authorise(call.principal, "create", request.reference);
      return pullCheckpoint(deps, request, call);
    },

    async drillCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      return drillCheckpoint(deps, request, call);
    },
  };
}
