import type { CheckpointsServiceImplementation } from "#contracts/checkpoint/v1/checkpoint";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";

type CloneMethod = "cloneCheckpoint" | "pullCheckpoint" | "drillCheckpoint";

/** What makes a VM, or a checkpoint of one, from a checkpoint. */
export function cloneHandlers(): Pick<CheckpointsServiceImplementation<CallScope>, CloneMethod> {
  return {
    async cloneCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      throw notYet("be cloned");
    },

    async pullCheckpoint(request, call) {
      authorise(call.principal, "create", request.reference);
      throw notYet("be pulled");
    },

    async drillCheckpoint(request, call) {
      authorise(call.principal, "create", request.name);
      throw notYet("be drilled");
    },
  };
}

const notYet = (what: string) => new StillpointError("CAPABILITY_MISSING", `checkpoints cannot ${what} here yet`);
