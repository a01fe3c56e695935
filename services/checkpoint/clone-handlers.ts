import type { CheckpointsServiceImplementation } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import { type CloneDeps, cloneCheckpoint } from "./clone.ts";
import { drillCheckpoint } from "./drill.ts";

type CloneMethod = "cloneCheckpoint" | "pullCheckpoint" | "drillCheckpoint";

/** What makes a VM, or a checkpoint of one, from a checkpoint. */
export function cloneHandlers(deps: CloneDeps): Pick<CheckpointsServiceImplementation<CallScope>, CloneMethod> {
  return {
    async cloneCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      return cloneCheckpoint(deps, request, call);
    },

    async pullCheckpoint(request, call) {
      authorise(call.principal, "create", request.reference);
      throw new StillpointError("CAPABILITY_MISSING", "checkpoints cannot be pulled here yet");
    },

    async drillCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      return drillCheckpoint(deps, request, call);
    },
  };
}
