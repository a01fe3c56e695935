import type { Host } from "#contracts/scheduler/v1/scheduler";
import { allPages } from "../all-pages.ts";
import type { Api } from "../api.ts";
import { printAnswer } from "../output/format.ts";
import { showHost, showHosts } from "../output/hosts.ts";

export async function listHosts(api: Api): Promise<void> {
  const client = await api.hosts();
  // A table has only room for their number.
  const withReservations = api.options.output !== "table";
  const hosts = await allPages(async (pageToken) => {
    const page = await client.listHosts({ pageToken, withReservations });
    return { items: page.hosts, next: page.nextPageToken };
  });
  const { ListHostsResponse } = await import("#contracts/scheduler/v1/scheduler");
  const json = ListHostsResponse.toJSON({ hosts, nextPageToken: "" });
  const table = () => showHosts(hosts, new Date());
  await printAnswer(api.terminal, api.options.output, { json, table });
}

export async function printHost(api: Api, host: Host): Promise<void> {
  const contract = await import("#contracts/scheduler/v1/scheduler");
  await printAnswer(api.terminal, api.options.output, {
    json: contract.Host.toJSON(host),
    table: () => showHost(host),
  });
}
