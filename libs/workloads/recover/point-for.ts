import { ContainerState } from "#contracts/container/v1/container";
import { WorkloadState } from "#contracts/host/v1/agent";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { recoveryName } from "#libs/names";
import { askHost } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import type { Point, RecoverDeps } from "./recover-state.ts";

/**
 * What a workload is recovered from: what it was when it was moved to the host that failed, where the one that it came from
 * has that still and nothing newer is in the registry; else its last point there; else its image, where it has no data.
 * @throws StillpointError RECOVERY_POINT_MISSING
 */
export async function pointFor<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  target: string,
  body: Body,
): Promise<Point> {
  const { recoveryStates, clock, moving } = deps;
  const recovery = (await recoveryStates.get(recoveryName(target)))?.body;
  const point = recovery?.workloadUid === body.uid && recovery.point?.reference !== "" ? recovery.point : undefined;
  const home = await homeOf(deps, body, point?.time);
  const time = home?.time ?? point?.time ?? clock.now();
  const ageSeconds = Math.max(0, Math.round((clock.now().getTime() - time.getTime()) / 1_000));
  const from = { time: time.toISOString(), ageSeconds };
  if (home !== undefined) return { checkpoint: "", reference: "", home: home.host, ...from };
  if (point !== undefined) return { checkpoint: point.checkpoint, reference: point.reference, ...from };
  if (moving.anew?.(body) !== undefined) return { checkpoint: "", reference: "", isAnew: true, ...from };
  throw new StillpointError("RECOVERY_POINT_MISSING", `${target} has no recovery point in the registry`);
}

/** The host that it has left last, where it is still whole there and was since `pointTime`. */
async function homeOf<Body extends WorkloadBody>(
  { hosts, agents }: RecoverDeps<Body>,
  { uid, movedFrom }: Body,
  pointTime: Date | undefined,
) {
  if (movedFrom?.time === undefined || (pointTime !== undefined && pointTime > movedFrom.time)) return undefined;
  const { host, time } = movedFrom;
  if ((await hosts.get(host))?.body.state === HostState.DOWN) return undefined;
  const there = await askHost(agents, { host, uid });
  if (there === undefined || there === "unknown" || there.leftBehind) return undefined;
  return there.state === WorkloadState.STOPPED || there.container?.state === ContainerState.STOPPED
    ? { host, time }
    : undefined;
}
