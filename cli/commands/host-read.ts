import type { Host } from "#contracts/scheduler/v1/scheduler";
import type { Api } from "../api.ts";
import { printAnswer } from "../output/format.ts";
import { showHost, showHosts } from "../output/hosts.ts";

export async function listHosts(api: Api): Promise<void> {
  const response = await (await api.hosts()).listHosts({});
  const { ListHostsResponse } = await import("#contracts/scheduler/v1/scheduler");
  const json = ListHostsResponse.toJSON(response);
  const table = () => showHosts(response.hosts, new Date());
  await printAnswer(api.terminal, api.options.output, { json, table });
}

export async function printHost(api: Api, host: Host): Promise<void> {
  const contract = await import("#contracts/scheduler/v1/scheduler");
  await printAnswer(api.terminal, api.options.output, {
    json: contract.Host.toJSON(host),
    table: () => showHost(host),
  });
}
