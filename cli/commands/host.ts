import type { Command } from "commander";
import type { Host } from "#contracts/scheduler/v1/scheduler";
import { hostName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand, ofInstallation, operationLeaf } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { showDrain } from "../output/hosts.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import type { WaitOptions } from "../wait-for-operation.ts";
import { joinCommand, joinTokenCommand } from "./host-join.ts";
import { listHosts, printHost } from "./host-read.ts";
import { hostSetCommand } from "./host-set.ts";

/** stillpoint host ... */
export function hostCommand(terminal: Terminal): Command {
  const onHost = (verb: string, description: string, ask: (api: Api, name: string) => Promise<Host>) =>
    leafCommand(verb, description)
      .argument("<name>")
      .action((host: string, options: CommonOptions) =>
        withApi(terminal, options, async (api) => printHost(api, await ask(api, hostName(host)))),
      );
  const noun = nounCommand("host", "Hosts, and what they hold.")
    .addCommand(
      leafCommand("list", "List hosts.").action((options: CommonOptions) => withApi(terminal, options, listHosts)),
    )
    .addCommand(onHost("get", "Show a host.", async (api, name) => (await api.hosts()).getHost({ name })))
    .addCommand(
      onHost("cordon", "Place no new workloads on a host; those there stay.", async (api, name) =>
        (await api.hosts()).cordonHost({ name }),
      ),
    )
    .addCommand(
      onHost("uncordon", "Place workloads on a host again.", async (api, name) =>
        (await api.hosts()).uncordonHost({ name }),
      ),
    )
    .addCommand(drainCommand(terminal))
    .addCommand(forgetCommand(terminal))
    .addCommand(hostSetCommand(terminal))
    .addCommand(joinTokenCommand(terminal))
    .addCommand(joinCommand(terminal));
  return ofInstallation(noun);
}

function drainCommand(terminal: Terminal): Command {
  return operationLeaf("drain", "Cordon a host, and move or stop what runs there; uncordon it when you are done.")
    .argument("<name>")
    .addHelpText(
      "after",
      "\nWhat has --drain move goes to another host where one has room, all else is stopped.\n" +
        "stillpoint operation cancel ends it; the host stays cordoned.",
    )
    .action((host: string, options: CommonOptions & WaitOptions) =>
      runOperation(terminal, options, {
        start: async (api, requestId) => (await api.hosts()).drainHost({ name: hostName(host), requestId }),
        told: ({ output }) => showDrain(host, output ?? {}),
      }),
    );
}

interface ForgetOptions extends CommonOptions {
  readonly force?: boolean;
}

function forgetCommand(terminal: Terminal): Command {
  return leafCommand("forget", "Take a host that has left out of the inventory; it is refused until it joins anew.")
    .argument("<name>")
    .option("--force", "with what is on it, which is lost: turn the machine off first")
    .action((host: string, options: ForgetOptions) =>
      withApi(terminal, options, async (api) => {
        const name = hostName(host);
        await (await api.hosts()).forgetHost({ name, force: options.force ?? false });
        await printAnswer(terminal, options.output, { json: { name }, table: () => `Host ${host} is forgotten.\n` });
      }),
    );
}
