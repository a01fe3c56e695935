import { Project, type ProjectsServiceImplementation } from "#contracts/checkpoint/v1/project";
import { CheckpointType, type Vm } from "#contracts/vm/v1/vm";
import { authorise } from "#libs/auth";
import type { Random } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { parseProject, parseVmName, parseWorkloadName, projectName } from "#libs/names";
import type { Log, RecordStore, RecordView, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { listRecords } from "../records/list-records.ts";

export interface ProjectDeps {
  readonly log: Pick<Log, "newest">;
  readonly projects: RecordStore<Project>;
  readonly vmView: Pick<RecordView<Vm>, "list">;
  readonly random: Random;
}

/** The default of the project that a VM belongs to; UNSPECIFIED where nobody has set one. */
export async function projectType({ projects }: Pick<ProjectDeps, "projects">, vm: string): Promise<CheckpointType> {
  const stored = await projects.get(projectName(parseWorkloadName(vm).project));
  return stored?.body.checkpointType ?? CheckpointType.UNSPECIFIED;
}

/** Projects are there without being made: a record holds only what was set for one. */
export function projectsHandlers(deps: ProjectDeps): ProjectsServiceImplementation<CallScope> {
  return {
    async getProject({ name }, { principal }) {
      authorise(principal, "get", name);
      parseProject(name);
      const stored = await deps.projects.get(name);
      return stored === undefined ? unset(name) : toApi(stored);
    },

    async listProjects(_request, { principal }) {
      authorise(principal, "list", "projects");
      return { projects: await listProjects(deps) };
    },

    async setProjectCheckpointType({ name, checkpointType }, { principal }) {
      authorise(principal, "update", name);
      parseProject(name);
      checkType(checkpointType);
      return toApi(await setType(deps, name, checkpointType));
    },
  };
}

async function listProjects({ log, projects, vmView }: ProjectDeps): Promise<Project[]> {
  const stored = await listRecords(log, projects, "rec.projects.*");
  const implied = vmView.list("projects/").map(({ name }) => projectName(parseVmName(name).project));
  const byName = new Map([
    ...implied.map((name) => [name, unset(name)] as const),
    ...stored.map((record) => [record.name, toApi(record)] as const),
  ]);
  return [...byName.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function checkType(type: CheckpointType): void {
  if (type !== CheckpointType.UNSPECIFIED && type !== CheckpointType.UNRECOGNIZED) return;
  throw new StillpointError("ARGUMENT_INVALID", "checkpoint_type is missing", {
    help: "Use production, production-only, standard or disabled.",
  });
}

async function setType({ projects, random }: ProjectDeps, name: string, to: CheckpointType) {
  const change = (from: CheckpointType) => ({
    body: Project.fromPartial({ name, checkpointType: to }),
    events: [{ aggregate: "project", happened: "checkpoint_type_changed", data: { from, to } }],
  });
  const modify = () =>
    projects.modify(name, ({ body }) => (body.checkpointType === to ? undefined : change(body.checkpointType)));
  const changed = await modify();
  if (changed !== undefined) return changed;
  try {
    return await projects.create(name, { uid: random.id("project"), ...change(CheckpointType.PRODUCTION) });
  } catch (error) {
    if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    // Someone else was the first to set something.
    const theirs = await modify();
    if (theirs === undefined) throw error;
    return theirs;
  }
}

const unset = (name: string): Project => Project.fromPartial({ name, checkpointType: CheckpointType.PRODUCTION });

const toApi = ({ body, version, time }: StoredRecord<Project>): Project => ({ ...body, version, updateTime: time });
