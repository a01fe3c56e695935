import type { Project } from "#contracts/checkpoint/v1/project";
import { type CheckpointReadiness, CheckpointType, type Vm } from "#contracts/vm/v1/vm";
import { parseVmName, projectName } from "#libs/names";
import { isMaterialChange, judgeReadiness } from "#libs/readiness";
import type { RecordView } from "#libs/records";
import { type Folded, type ShowVm, toApi, vmEvent } from "./vm-record.ts";

/** The checkpoint type of the project that a VM belongs to; UNSPECIFIED where nobody has set one. */
export type TypeOfProject = (vm: string) => CheckpointType;

export function typeOfProject(projects: Pick<RecordView<Project>, "get">): TypeOfProject {
  return (vm) => {
    const project = projects.get(projectName(parseVmName(vm).project));
    return project?.body.checkpointType ?? CheckpointType.UNSPECIFIED;
  };
}

/** VMs as the API shows them: what a checkpoint would give is judged anew, as the policy may have changed since. */
export function showWith(inherited: TypeOfProject): ShowVm {
  return (stored) => {
    const vm = toApi(stored);
    const seen = vm.checkpointReadiness;
    return seen === undefined ? vm : { ...vm, checkpointReadiness: judgeForVm(vm, seen, inherited) };
  };
}

/** What was seen of a VM, judged by the policy that holds now: its own, else its project's. */
function judgeForVm({ name, spec }: Vm, seen: CheckpointReadiness, inherited: TypeOfProject) {
  const own = spec?.checkpointType ?? CheckpointType.UNSPECIFIED;
  const excludes = spec?.disks.some(({ excludeFromCheckpoints }) => excludeFromCheckpoints);
  return judgeReadiness(seen, own === CheckpointType.UNSPECIFIED ? inherited(name) : own, excludes);
}

/** The VM with what was seen last. */
export function foldReadiness(vm: Vm, seen: CheckpointReadiness, inherited: TypeOfProject): Folded {
  const before = vm.checkpointReadiness;
  const readiness = judgeForVm(vm, seen, inherited);
  const folded = { ...vm, checkpointReadiness: readiness };
  // The first look is no change.
  if (before === undefined || !isMaterialChange(judgeForVm(vm, before, inherited), readiness)) {
    return { vm: folded, events: [] };
  }
  const { policy, outcome, consistency, production, findings } = readiness;
  const data = { policy, outcome, consistency, production, findings: findings.map(({ code }) => code) };
  return { vm: folded, events: [vmEvent("readiness_changed", vm, data)] };
}
