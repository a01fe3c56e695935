import type { Command } from "commander";
import type { Group } from "#contracts/checkpoint/v1/group";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { groupName, projectName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showGroup, showGroups } from "../output/groups.ts";
import { parseCheckpointType } from "../parse/checkpoint-type.ts";
import { collect } from "../parse/collect.ts";
import { parseFreezeWindow } from "../parse/freeze-window.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import type { Terminal } from "../terminal.ts";

interface SetOptions extends CommonOptions {
  readonly member?: readonly string[];
  readonly type?: CheckpointType;
  readonly freezeWindow?: ReturnType<typeof parseFreezeWindow>;
}

export function groupDefineCommands(terminal: Terminal): Command[] {
  const withSettings = (verb: Command) =>
    verb
      .option("--type <type>", "production, production-only or standard (default: production)", parseCheckpointType)
      .option("--freeze-window <seconds>", "longest time that a member stands frozen, 1s to 60s", parseFreezeWindow);
  const named = (verb: string, description: string, ask: (api: Api, name: string) => Promise<Group>) =>
    leafCommand(verb, description)
      .argument("<group>")
      .action((group: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => printGroup(api, await ask(api, groupName(options.project, group)))),
      );
  return [
    withSettings(leafCommand("create", "Make a group; its members are frozen in the order given."))
      .argument("<group>")
      .argument("<workload...>", "vm/NAME, container/NAME, or NAME for a VM", collect(parseWorkload))
      .action((group: string, members: string[], options: SetOptions) =>
        withApi(terminal, options, (api) => create(api, group, members, options)),
      ),
    leafCommand("list", "List groups.").action((options: CommonOptions) => withApi(terminal, options, list)),
    named("get", "Show a group.", async (api, name) => (await api.groups()).getGroup({ name })),
    withSettings(leafCommand("set", "Change a group; what is not said stays."))
      .argument("<group>")
      .option("--member <workload>", "a member; all of them have to be given, in order", collect(parseWorkload))
      .action((group: string, options: SetOptions) => withApi(terminal, options, (api) => set(api, group, options))),
    named("delete", "Delete a group that has no checkpoints; its members stay.", async (api, name) =>
      (await api.groups()).deleteGroup({ name }),
    ),
  ];
}

async function create(api: Api, group: string, members: readonly string[], options: SetOptions): Promise<void> {
  const { project } = options;
  const groups = await api.groups();
  await printGroup(
    api,
    await groups.createGroup({
      parent: projectName(project),
      groupId: group,
      members: members.map((member) => workloadName(project, member)),
      ...settings(options),
    }),
  );
}

async function set(api: Api, group: string, options: SetOptions): Promise<void> {
  const members = (options.member ?? []).map((member) => workloadName(options.project, member));
  const groups = await api.groups();
  const name = groupName(options.project, group);
  await printGroup(api, await groups.updateGroup({ name, members, ...settings(options) }));
}

const settings = ({ type = "CHECKPOINT_TYPE_UNSPECIFIED", freezeWindow }: SetOptions) => ({
  checkpointType: type,
  ...(freezeWindow === undefined ? {} : { freezeWindow }),
});

async function list(api: Api): Promise<void> {
  const response = await (await api.groups()).listGroups({ parent: projectName(api.options.project) });
  const { ListGroupsResponse } = await import("#contracts/checkpoint/v1/group");
  const json = ListGroupsResponse.toJSON(response);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showGroups(response.groups) });
}

async function printGroup(api: Api, group: Group): Promise<void> {
  const contract = await import("#contracts/checkpoint/v1/group");
  const json = contract.Group.toJSON(group);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showGroup(group) });
}
