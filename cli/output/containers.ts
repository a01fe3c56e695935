import type { Container, RestartPolicy, WatchContainersResponse } from "#contracts/container/v1/container";
import { showReadinessLine } from "./readiness.ts";
import { recoveryFields } from "./recovery.ts";
import { forecast, mergeDebt } from "./storage.ts";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showBytes, showCpus, showEnum, showLabels, showTime } from "./units.ts";
import { checkpointType } from "./vms.ts";

export function showContainers(containers: readonly Container[], now: Date): string {
  if (containers.length === 0) return "No containers. Make one with: stillpoint container run NAME --image REF";
  const rows = containers.map((container) => [
    lastPart(container.name),
    state(container),
    lastPart(container.host),
    container.spec?.image ?? "",
    ports(container).join(" "),
    container.restarts === 0 ? "" : `${container.restarts}`,
    showAge(container.startTime, now),
    container.stateReason,
  ]);
  return renderTable(["NAME", "STATE", "HOST", "IMAGE", "PORTS", "RESTARTS", "STARTED", "REASON"], rows);
}

export function showContainer(container: Container, now: Date): string {
  const { spec, lastExit } = container;
  return renderFields([
    ["Name", container.name],
    ["UID", container.uid],
    ["State", state(container)],
    ["Reason", container.stateReason],
    ["Host", lastPart(container.host)],
    ["Still on", lastPart(container.movedFrom?.host ?? "")],
    ["Image", spec?.image],
    ["Digest", container.imageDigest],
    ...programFields(spec),
    ["CPUs", showCpus(spec?.limits)],
    ["Memory", showBytes(spec?.limits?.memoryBytes ?? 0)],
    ["Processes", `at most ${spec?.limits?.pids ?? 0}`],
    ["Ports", ports(container).join("\n")],
    ["Volumes", volumes(container)],
    ["Secrets", (spec?.secrets ?? []).map(({ name }) => `/run/secrets/${name}`).join("\n")],
    ["Restart", restart(spec?.restart)],
    ["Restarts", `${container.restarts}`],
    ["Last end", lastExit && `exit code ${lastExit.exitCode}, ${showTime(lastExit.time)}`],
    ...recoveryFields(container, now),
    ["When drained", spec && showEnum(spec.drain, "DRAIN_POLICY_")],
    ["Checkpoints", checkpointType(spec?.checkpointType)],
    ["Quiesce", spec?.quiesceCommand.join(" ")],
    ["Readiness", container.checkpointReadiness && showReadinessLine(container.checkpointReadiness)],
    ["To be merged", container.checkpointStorage && mergeDebt(container.checkpointStorage)],
    ["Free space", container.checkpointStorage && forecast(container.checkpointStorage)],
    ["Labels", showLabels(container.labels)],
    ["Operation", container.operation],
    ["Made", showTime(container.createTime)],
    ["Started", showTime(container.startTime)],
  ]);
}

function programFields(spec: Container["spec"]): [string, string][] {
  if (spec === undefined) return [];
  return [
    ["Command", [...spec.entrypoint, ...spec.command].join(" ")],
    ["Works in", spec.workingDir],
    ["User", spec.user],
    // Values may be long, and not for every eye: -o json has them.
    ["Variables", Object.keys(spec.env).join(" ")],
  ];
}

/** One change of a watched list, on a line. */
export function showContainerChange({ kind, container }: WatchContainersResponse): string {
  const what = showEnum(kind, "KIND_");
  if (container === undefined) return what === "synced" ? "synced" : "";
  const said = what === "deleted" ? "" : state(container);
  return renderTable([what.padEnd(8), lastPart(container.name), said, container.stateReason], []);
}

function state({ state, health }: Container): string {
  const isRunning = state === "CONTAINER_STATE_RUNNING";
  const check = isRunning && health !== "CONTAINER_HEALTH_UNSPECIFIED" ? showEnum(health, "CONTAINER_HEALTH_") : "";
  return `${showEnum(state, "CONTAINER_STATE_")}${check === "" ? "" : ` (${check})`}`;
}

function ports({ spec }: Container): string[] {
  return (spec?.ports ?? []).map(
    ({ hostPort, containerPort, protocol }) => `${hostPort}:${containerPort}${protocol === "udp" ? "/udp" : ""}`,
  );
}

function volumes({ spec }: Container): string {
  return (spec?.volumes ?? [])
    .map(({ volume, hostPath, path, readOnly, excludeFromCheckpoints }) => {
      const notes = [...(readOnly ? ["read-only"] : []), ...(excludeFromCheckpoints ? ["not in checkpoints"] : [])];
      return [`${volume || hostPath} at ${path}`, ...notes].join(", ");
    })
    .join("\n");
}

function restart(policy: RestartPolicy | undefined): string {
  const mode = showEnum(policy?.mode ?? "MODE_NO", "MODE_");
  return policy === undefined || policy.maxRetries === 0 ? mode : `${mode}, ${policy.maxRetries} times at most`;
}
