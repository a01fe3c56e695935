import { type Container, type HealthCheck, RestartPolicy_Mode } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import { parseWorkloadName } from "#libs/names";
import type { WantedVm } from "../jobs/made-vm.ts";
import { containerOf } from "../records/workload-record.ts";
import type { Found } from "../requests/find-checkpoint.ts";
import { containerLike } from "./container-from-checkpoint.ts";
import { vmLike } from "./vm-from-checkpoint.ts";

/** A label of the clones, by which they are told from workloads that are there to stay. */
const drillLabel = "stillpoint/drill";
const defaultIntervalMs = 30_000;
const defaultRetries = 3;

/** The clone that a checkpoint is tried in: it reaches nothing, and changes nothing that is not its own. */
export function drillWorkload({ vm, checkpoint }: Found, uid: string): WantedVm {
  const { project } = parseWorkloadName(vm.name);
  const id = `drill-${uid.slice(-12)}`;
  const labels = { [drillLabel]: checkpoint.uid };
  const container = containerOf(vm.body);
  if (container === undefined)
    return vmLike(vm.body, checkpoint.name, { project, vmId: id, labels }, { isolated: true });
  return containerLike({ ...container, spec: tried(container) }, checkpoint.name, {
    project,
    containerId: id,
    ports: [],
    labels,
  });
}

function tried({ name, spec }: Container): NonNullable<Container["spec"]> {
  if (spec === undefined) throw new StillpointError("INTERNAL", `the record of ${name} has no spec`);
  return {
    ...spec,
    isolated: true,
    restart: { mode: RestartPolicy_Mode.NO, maxRetries: 0 },
    volumes: spec.volumes.map((volume) => (volume.hostPath === "" ? volume : { ...volume, readOnly: true })),
    healthCheck: spec.healthCheck && impatient(spec.healthCheck),
  };
}

/** Asked every second, for as long in all: nobody waits for its first answer longer than it takes. */
function impatient(check: HealthCheck): HealthCheck {
  const { interval, retries } = check;
  const intervalMs = interval === undefined ? defaultIntervalMs : interval.seconds * 1_000 + interval.nanos / 1e6;
  if (intervalMs <= 1_000) return check;
  const times = Math.ceil(((retries || defaultRetries) * intervalMs) / 1_000);
  return { ...check, interval: { seconds: 1, nanos: 0 }, retries: times };
}
