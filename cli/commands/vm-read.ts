import type { Command } from "commander";
import type { Vm } from "#contracts/vm/v1/vm";
import { projectName, vmName } from "#libs/names";
import { readAllPages } from "../all-pages.ts";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { printAnswer, printItem } from "../output/format.ts";
import { showVm, showVmChange, showVms } from "../output/vms.ts";
import type { Terminal } from "../terminal.ts";

export function vmReadCommands(terminal: Terminal): Command[] {
  return [
    leafCommand("list", "List VMs.")
      .option("--watch", "go on and print each change")
      .action((options: CommonOptions & { watch?: boolean }) =>
        withApi(terminal, options, options.watch === true ? watchVms : listVms),
      ),
    leafCommand("get", "Show a VM.")
      .argument("<name>")
      .action((name: string, options: CommonOptions) => withApi(terminal, options, (api) => getVm(api, name))),
  ];
}

async function listVms(api: Api): Promise<void> {
  const vms = await api.vms();
  const parent = projectName(api.options.project);
  const { items, ...list } = await readAllPages(async (pageToken) => {
    const { vms: items, ...page } = await vms.listVms({ parent, pageToken });
    return { items, ...page };
  });
  const { ListVmsResponse } = await import("#contracts/vm/v1/vm");
  await printAnswer(api.terminal, api.options.output, {
    json: ListVmsResponse.toJSON({ vms: items, ...list }),
    table: () => showVms(items, new Date()),
  });
}

async function watchVms(api: Api): Promise<void> {
  const vms = await api.vms();
  const { WatchVmsResponse } = await import("#contracts/vm/v1/vm");
  const { signal } = api.terminal;
  for await (const change of vms.watchVms({ parent: projectName(api.options.project) }, { signal, idleTimeoutMs })) {
    await printItem(api.terminal, api.options.output, {
      json: WatchVmsResponse.toJSON(change),
      table: () => showVmChange(change),
    });
  }
}

// A bookmark comes every 30 s.
const idleTimeoutMs = 75_000;

async function getVm(api: Api, name: string): Promise<void> {
  await printVm(api, await (await api.vms()).getVm({ name: vmName(api.options.project, name) }));
}

/** Prints one VM. */
export async function printVm(api: Api, vm: Vm): Promise<void> {
  const contract = await import("#contracts/vm/v1/vm");
  await printAnswer(api.terminal, api.options.output, {
    json: contract.Vm.toJSON(vm),
    table: () => showVm(vm, new Date()),
  });
}
