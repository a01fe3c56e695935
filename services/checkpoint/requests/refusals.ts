import { type Checkpoint, CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import type { VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { adviceFor } from "#libs/readiness";
import type { Cause, TakenType } from "../domain/policy.ts";
import { isContainerName } from "../records/workload-record.ts";

/** Why a request is refused, in one place, so that handlers and jobs say the same. */
export function typeRefused(workload: string, why: "disabled" | "not-allowed", asked?: TakenType): StillpointError {
  return why === "disabled"
    ? new StillpointError("CHECKPOINT_DISABLED", `checkpoints of ${workload} are disabled`, {
        metadata: { reason: "policy.disabled" },
      })
    : new StillpointError("CHECKPOINT_TYPE_REFUSED", `${workload} is production-only and does not allow ${asked}`);
}

export function full(workload: string, limit: number): StillpointError {
  return new StillpointError("CHECKPOINT_LIMIT", `${workload} has ${limit} checkpoints already`, {
    metadata: { reason: "limit.count", limit: `${limit}` },
  });
}

export function nameTaken(workload: string, displayName: string): StillpointError {
  return new StillpointError(
    "CHECKPOINT_NAME_TAKEN",
    `${workload} has a checkpoint named ${JSON.stringify(displayName)}`,
  );
}

export function productionNotReached(workload: string, { code, detail }: Cause): StillpointError {
  const why = detail === "" ? code : `${code}: ${detail}`;
  return new StillpointError(
    "PRODUCTION_NOT_REACHED",
    `no production checkpoint of ${workload} could be had (${why})`,
    {
      help: adviceFor(code),
      metadata: { productionReason: code },
    },
  );
}

/** Why nothing of the type was taken at all. */
export function notTaken(workload: string, type: TakenType, cause: Cause): StillpointError {
  if (type !== "standard") return productionNotReached(workload, cause);
  const { code, detail } = cause;
  return new StillpointError(
    "STANDARD_FAILED",
    `no standard checkpoint of ${workload} could be had (${code}: ${detail})`,
    {
      help: adviceFor(code),
      metadata: { reason: code },
    },
  );
}

export function wrongState(workload: string, state: VmState): StillpointError {
  const word = state.replace("VM_STATE_", "").toLowerCase();
  return new StillpointError("VM_STATE", `${workload} is ${word}`, {
    help: "Wait until it is stopped, running or paused.",
    metadata: { state },
  });
}

export function notReady(checkpoint: string): StillpointError {
  return new StillpointError("CHECKPOINT_STATE", `${checkpoint} is not ready`);
}

export function elsewhere(checkpoint: string, host: string, here: string): StillpointError {
  return new StillpointError("CHECKPOINT_ELSEWHERE", `${checkpoint} stayed on ${host}; its workload is on ${here} now`);
}

export function isProtected(checkpoint: string): StillpointError {
  return new StillpointError("CHECKPOINT_PROTECTED", `${checkpoint} is protected`);
}

export function noWorkload(name: string): StillpointError {
  return isContainerName(name)
    ? new StillpointError("CONTAINER_NOT_FOUND", `there is no container ${name}`)
    : new StillpointError("VM_NOT_FOUND", `there is no VM ${name}`);
}

/** @throws StillpointError CAPABILITY_MISSING for a container's memory, which goes on in that container alone */
export function refuseMemory({ name, kind }: Checkpoint): void {
  if (kind !== CheckpointKind.STANDARD || !isContainerName(name)) return;
  throw new StillpointError("CAPABILITY_MISSING", `${name} holds a container's memory, which stays with it`, {
    help: "Take a production checkpoint for copies.",
  });
}

export function noCheckpoint(name: string): StillpointError {
  return new StillpointError("CHECKPOINT_NOT_FOUND", `there is no checkpoint ${name}`);
}
