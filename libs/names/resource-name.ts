import { StillpointError } from "#libs/errors";
import { checkId, checkName, quote } from "./check-name.ts";

const containerPattern = /^projects\/([^/]+)\/containers\/([^/]+)$/;
const vmPattern = /^projects\/([^/]+)\/vms\/([^/]+)$/;
const schedulePattern = /^projects\/([^/]+)\/schedules\/([^/]+)$/;
// What follows may be a display name, with any character in it.
const checkpointPattern = /^(projects\/[^/]+\/(?:vms|containers)\/[^/]+)\/checkpoints\/(.+)$/s;
const groupPattern = /^projects\/([^/]+)\/groups\/([^/]+)$/;
const groupCheckpointPattern = /^(projects\/[^/]+\/groups\/[^/]+)\/checkpoints\/(.+)$/s;

/** projects/<project> */
export const projectName = (project: string): string => `projects/${checkName("project", project)}`;

/** projects/<project>/vms/<vm> */
export const vmName = (project: string, vm: string): string => `${projectName(project)}/vms/${checkName("VM", vm)}`;

/** projects/<project>/containers/<container> */
export const containerName = (project: string, container: string): string =>
  `${projectName(project)}/containers/${checkName("container", container)}`;

/** <workload>/checkpoints/<id> */
export const checkpointName = (workload: string, id: string): string => `${workload}/checkpoints/${checkId(id)}`;

/** projects/<project>/groups/<group> */
export const groupName = (project: string, group: string): string =>
  `${projectName(project)}/groups/${checkName("group", group)}`;

/** <group>/checkpoints/<id> */
export const groupCheckpointName = (group: string, id: string): string => `${group}/checkpoints/${checkId(id)}`;

/** <workload>/head: where "now" stands in the tree of checkpoints. */
export const headName = (workload: string): string => `${workload}/head`;

/** <workload>/recovery: what it would be recovered from. */
export const recoveryName = (workload: string): string => `${workload}/recovery`;

export const isRecoveryName = (name: string): boolean =>
  /^projects\/[^/]+\/(vms|containers)\/[^/]+\/recovery$/.test(name);

/** hosts/<host> */
export const hostName = (host: string): string => `hosts/${checkName("host", host)}`;

/** hosts/<host>/ledger, from the name of the host. */
export const ledgerName = (host: string): string => `${host}/ledger`;

/** hosts/<host>/identity, from the name of the host. */
export const identityName = (host: string): string => `${host}/identity`;

/** A host's id from its machine's name: what does not fit becomes a dash. */
export function hostIdOf(machine: string): string {
  const [first = ""] = machine.toLowerCase().split(".");
  const id = first
    .replace(/[^a-z0-9-]/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 63);
  return id === "" ? "host" : id;
}

/** projects/<project>/schedules/<schedule> */
export const scheduleName = (project: string, schedule: string): string =>
  `${projectName(project)}/schedules/${checkName("schedule", schedule)}`;

/** operations/<id> */
export const operationName = (id: string): string => `operations/${checkId(id)}`;

/** The project in `projects/<project>`. Fails with NAME_INVALID, as all parsers here do. */
export function parseProject(parent: string): string {
  return checkName("project", only(/^projects\/([^/]+)$/, parent, "projects/<project>"));
}

/** The parts of `projects/<project>/vms/<vm>`. */
export function parseVmName(name: string): { project: string; vm: string } {
  const match = vmPattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) throw malformed(name, "projects/<project>/vms/<vm>");
  return { project: checkName("project", match[1]), vm: checkName("VM", match[2]) };
}

/** The parts of `projects/<project>/containers/<container>`. */
export function parseContainerName(name: string): { project: string; container: string } {
  const match = containerPattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw malformed(name, "projects/<project>/containers/<container>");
  }
  return { project: checkName("project", match[1]), container: checkName("container", match[2]) };
}

/** The project and the last part of a VM's or a container's name. */
export function parseWorkloadName(name: string): { project: string; workload: string } {
  if (containerPattern.test(name)) {
    const { project, container } = parseContainerName(name);
    return { project, workload: container };
  }
  const { project, vm } = parseVmName(name);
  return { project, workload: vm };
}

/** The workload and the last part of `<workload>/checkpoints/<id or display name>`; which of both it is stays open. */
export function parseCheckpointName(name: string): { workload: string; checkpoint: string } {
  const match = checkpointPattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw malformed(name, "projects/<project>/vms/<vm>/checkpoints/<checkpoint>");
  }
  parseWorkloadName(match[1]);
  return { workload: match[1], checkpoint: match[2] };
}

/** The parts of `projects/<project>/groups/<group>`. */
export function parseGroupName(name: string): { project: string; group: string } {
  const match = groupPattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) throw malformed(name, "projects/<project>/groups/<group>");
  return { project: checkName("project", match[1]), group: checkName("group", match[2]) };
}

/** The group and the last part of `<group>/checkpoints/<id or display name>`; which of both it is stays open. */
export function parseGroupCheckpointName(name: string): { group: string; checkpoint: string } {
  const match = groupCheckpointPattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw malformed(name, "projects/<project>/groups/<group>/checkpoints/<checkpoint>");
  }
  parseGroupName(match[1]);
  return { group: match[1], checkpoint: match[2] };
}

/** The workload that a checkpoint belongs to. */
export const workloadOf = (checkpoint: string): string => parseCheckpointName(checkpoint).workload;

/** The parts of `projects/<project>/schedules/<schedule>`. */
export function parseScheduleName(name: string): { project: string; schedule: string } {
  const match = schedulePattern.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw malformed(name, "projects/<project>/schedules/<schedule>");
  }
  return { project: checkName("project", match[1]), schedule: checkName("schedule", match[2]) };
}

/** The host in `hosts/<host>`. */
export const parseHostName = (name: string): string =>
  checkName("host", only(/^hosts\/([^/]+)$/, name, "hosts/<host>"));

/** The id in `operations/<id>`. */
export const parseOperationName = (name: string): string =>
  checkId(only(/^operations\/([^/]+)$/, name, "operations/<id>"));

function only(pattern: RegExp, name: string, form: string): string {
  const part = pattern.exec(name)?.[1];
  if (part === undefined) throw malformed(name, form);
  return part;
}

const malformed = (name: string, form: string) =>
  new StillpointError("NAME_INVALID", `${quote(name)} is not of the form ${form}`, {
    help: `Write the name as ${form}.`,
  });
