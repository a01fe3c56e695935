import type { Command } from "commander";
import type { Project } from "#contracts/checkpoint/v1/project";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { projectName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { renderFields, renderTable } from "../output/table.ts";
import { lastPart, showEnum, showTime } from "../output/units.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import type { Terminal } from "../terminal.ts";

interface SetOptions extends CommonOptions {
  readonly checkpointType: CheckpointType;
}

/** stillpoint project ... */
export function projectCommand(terminal: Terminal): Command {
  return nounCommand("project", "Projects, and what holds by default in them.")
    .addCommand(
      leafCommand("list", "List projects that have a VM or a setting.").action((options: CommonOptions) =>
        withApi(terminal, options, listProjects),
      ),
    )
    .addCommand(
      leafCommand("get", "Show a project.")
        .argument("<name>")
        .action((name: string, options: CommonOptions) =>
          withApi(terminal, options, async (api) =>
            printProject(api, await (await api.projects()).getProject({ name: projectName(name) })),
          ),
        ),
    )
    .addCommand(
      leafCommand("set", "Change a project's settings.")
        .argument("<name>")
        .requiredOption(
          "--checkpoint-type <type>",
          "production, production-only, standard or disabled; of VMs that say nothing else",
          parseCheckpointType,
        )
        .action((name: string, options: SetOptions) =>
          withApi(terminal, options, (api) => setProject(api, name, options)),
        ),
    );
}

async function listProjects(api: Api): Promise<void> {
  const response = await (await api.projects()).listProjects({});
  const { ListProjectsResponse } = await import("#contracts/checkpoint/v1/project");
  const rows = () => response.projects.map((project) => [lastPart(project.name), checkpointType(project)]);
  await printAnswer(api.terminal, api.options.output, {
    json: ListProjectsResponse.toJSON(response),
    table: () => (response.projects.length === 0 ? "No projects." : renderTable(["NAME", "CHECKPOINTS"], rows())),
  });
}

async function setProject(api: Api, name: string, { checkpointType }: SetOptions): Promise<void> {
  const projects = await api.projects();
  await printProject(api, await projects.setProjectCheckpointType({ name: projectName(name), checkpointType }));
}

async function printProject(api: Api, project: Project): Promise<void> {
  const contract = await import("#contracts/checkpoint/v1/project");
  const fields = [
    ["Name", project.name],
    ["Checkpoints", checkpointType(project)],
    ["Changed", showTime(project.updateTime)],
  ] as const;
  await printAnswer(api.terminal, api.options.output, {
    json: contract.Project.toJSON(project),
    table: () => renderFields(fields),
  });
}

const checkpointType = (project: Project): string => showEnum(project.checkpointType, "CHECKPOINT_TYPE_");
