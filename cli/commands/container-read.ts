import type { Command } from "commander";
import type { Container } from "#contracts/container/v1/container";
import { containerName, projectName } from "#libs/names";
import { readAllPages } from "../all-pages.ts";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showContainer, showContainerChange, showContainers } from "../output/containers.ts";
import { printAnswer, printItem } from "../output/format.ts";
import type { Terminal } from "../terminal.ts";

export function containerReadCommands(terminal: Terminal): Command[] {
  return [
    leafCommand("list", "List containers.")
      .option("--watch", "go on and print each change")
      .action((options: CommonOptions & { watch?: boolean }) =>
        withApi(terminal, options, options.watch === true ? watch : list),
      ),
    leafCommand("get", "Show a container.")
      .argument("<name>")
      .action((name: string, options: CommonOptions) => withApi(terminal, options, (api) => get(api, name))),
  ];
}

async function list(api: Api): Promise<void> {
  const containers = await api.containers();
  const parent = projectName(api.options.project);
  const { items, ...list } = await readAllPages(async (pageToken) => {
    const { containers: items, ...page } = await containers.listContainers({ parent, pageToken });
    return { items, ...page };
  });
  const { ListContainersResponse } = await import("#contracts/container/v1/container");
  await printAnswer(api.terminal, api.options.output, {
    json: ListContainersResponse.toJSON({ containers: items, ...list }),
    table: () => showContainers(items, new Date()),
  });
}

// A bookmark comes every 30 s.
const idleTimeoutMs = 75_000;

async function watch(api: Api): Promise<void> {
  const containers = await api.containers();
  const { WatchContainersResponse } = await import("#contracts/container/v1/container");
  const parent = projectName(api.options.project);
  const { signal } = api.terminal;
  for await (const change of containers.watchContainers({ parent }, { signal, idleTimeoutMs })) {
    await printItem(api.terminal, api.options.output, {
      json: WatchContainersResponse.toJSON(change),
      table: () => showContainerChange(change),
    });
  }
}

async function get(api: Api, container: string): Promise<void> {
  const name = containerName(api.options.project, container);
  await printContainer(api, await (await api.containers()).getContainer({ name }));
}

/** Prints one container. */
export async function printContainer(api: Api, container: Container): Promise<void> {
  const contract = await import("#contracts/container/v1/container");
  const json = contract.Container.toJSON(container);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showContainer(container, new Date()) });
}
