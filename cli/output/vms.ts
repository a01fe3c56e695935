import type { CheckpointType, Vm, WatchVmsResponse } from "#contracts/vm/v1/vm";
import { showReadinessLine } from "./readiness.ts";
import { recoveryFields } from "./recovery.ts";
import { forecast, mergeDebt } from "./storage.ts";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showBytes, showEnum, showLabels, showTime } from "./units.ts";

export function showVms(vms: readonly Vm[], now: Date): string {
  if (vms.length === 0) return "No VMs. Make one with: stillpoint vm create NAME --image REF";
  const rows = vms.map((vm) => [
    lastPart(vm.name),
    state(vm),
    lastPart(vm.host),
    `${vm.spec?.cpus ?? ""}`,
    showBytes(vm.spec?.memoryBytes ?? 0),
    vm.spec?.image ?? "",
    vm.guestAgent?.connected === true ? "yes" : "no",
    showAge(vm.createTime, now),
  ]);
  return renderTable(["NAME", "STATE", "HOST", "CPUS", "MEMORY", "IMAGE", "AGENT", "AGE"], rows);
}

export function showVm(vm: Vm, now: Date): string {
  const { spec } = vm;
  return renderFields([
    ["Name", vm.name],
    ["UID", vm.uid],
    ["State", state(vm)],
    ["Reason", vm.stateReason],
    ["Host", lastPart(vm.host)],
    ["Still on", lastPart(vm.movedFrom?.host ?? "")],
    ["Image", spec?.image],
    ["Digest", vm.imageDigest],
    ["CPUs", `${spec?.cpus ?? ""}`],
    ["Memory", showBytes(spec?.memoryBytes ?? 0)],
    ["Disks", disks(vm)],
    ["Ports", (spec?.ports ?? []).map(({ hostPort, guestPort }) => `${hostPort} to ${guestPort}`).join("\n")],
    ["Checkpoints", checkpointType(spec?.checkpointType)],
    ...recoveryFields(vm, now),
    ["When it is drained", spec?.drain === "DRAIN_POLICY_MOVE" ? "moves" : ""],
    ["Readiness", vm.checkpointReadiness && showReadinessLine(vm.checkpointReadiness)],
    ["Guest agent", agent(vm)],
    ...storage(vm),
    ["Labels", showLabels(vm.labels)],
    ["Operation", vm.operation],
    ["Made", showTime(vm.createTime)],
    ["Started", showTime(vm.startTime)],
  ]);
}

/** One change of a watched list, on a line. */
export function showVmChange({ kind, vm }: WatchVmsResponse): string {
  const what = showEnum(kind, "KIND_");
  if (vm === undefined) return what === "synced" ? "synced" : "";
  return renderTable([what.padEnd(8), lastPart(vm.name), what === "deleted" ? "" : state(vm), lastPart(vm.host)], []);
}

function disks({ spec }: Vm): string {
  const rootSizeBytes = spec?.rootSizeBytes ?? 0;
  const root = { id: "root", sizeBytes: rootSizeBytes, excludeFromCheckpoints: false };
  return [...(rootSizeBytes > 0 ? [root] : []), ...(spec?.disks ?? [])]
    .map(({ id, sizeBytes, excludeFromCheckpoints }) => {
      const excluded = excludeFromCheckpoints ? ", not in checkpoints" : "";
      return `${id} ${showBytes(sizeBytes)}${excluded}`;
    })
    .join("\n");
}

/** What waits to be merged, and how long the host's disk lasts. */
function storage({ checkpointStorage }: Vm): [string, string][] {
  if (checkpointStorage === undefined) return [];
  return [
    ["To be merged", mergeDebt(checkpointStorage)],
    ["Free space", forecast(checkpointStorage)],
  ];
}

const state = (vm: Vm): string => showEnum(vm.state, "VM_STATE_");

/** A policy in words. */
export function checkpointType(type: CheckpointType = "CHECKPOINT_TYPE_UNSPECIFIED"): string {
  return type === "CHECKPOINT_TYPE_UNSPECIFIED" ? "as the project's default" : showEnum(type, "CHECKPOINT_TYPE_");
}

function agent({ guestAgent }: Vm): string {
  if (guestAgent?.connected !== true) return "not connected";
  return guestAgent.version === "" ? "connected" : `connected, ${guestAgent.version}`;
}
