import { DrillCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { StillpointError } from "#libs/errors";
import { parseWorkloadName } from "#libs/names";
import type { Json } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { DrillInput } from "../jobs/drill.ts";
import { accepting } from "../requests/accepting.ts";
import { findCheckpoint } from "../requests/find-checkpoint.ts";
import { type CloneDeps, cloneSource, holdReady, newUids } from "./clone.ts";
import { drillWorkload } from "./drill-workload.ts";

const defaultSeconds = 600;
const maxSeconds = 3_600;

/** Accepts the job that tries a checkpoint in an isolated clone; it holds the checkpoint, not its workload. */
export async function drillCheckpoint(
  deps: CloneDeps,
  request: DrillCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const seconds = request.timeout?.seconds ?? defaultSeconds;
  if (seconds < 1 || seconds > maxSeconds) {
    throw new StillpointError("ARGUMENT_INVALID", `timeout must be 1 to ${maxSeconds} s, not ${seconds} s`);
  }
  if (request.command[0] === "") throw new StillpointError("ARGUMENT_INVALID", "command must begin with a program");
  const found = await findCheckpoint(deps, request.name);
  const { vm, checkpoint } = found;
  const { project } = parseWorkloadName(vm.name);
  const uids = newUids(deps.random);
  const input: DrillInput = {
    ...uids,
    source: cloneSource(found, false),
    newVm: drillWorkload(found, uids.checkpointUid),
    start: true,
    command: request.command.length > 0 ? request.command : (vm.body.spec?.drillCommand ?? []),
    timeoutMs: seconds * 1_000,
  };
  const accepted = accepting(call, { target: checkpoint.name, project, requestId: request.requestId });
  const fingerprint = DrillCheckpointRequest.toJSON({ ...request, requestId: "" }) as Json;
  return deps.operations.accept(
    { ...accepted, kind: "checkpoint.drill", input: { ...input }, fingerprint },
    holdReady(found),
  );
}
