import type { Command } from "commander";
import type { Quota } from "#contracts/registry/v1/quotas";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand, nounCommand } from "../leaf-command.ts";
import { printAnswer } from "../output/format.ts";
import { renderFields, renderTable } from "../output/table.ts";
import { lastPart, showBytes, showTime } from "../output/units.ts";
import { parseSize } from "../parse/size.ts";
import type { Terminal } from "../terminal.ts";

const projectHelp = "the first component of its repositories' names";

/** stillpoint registry quota ... */
export function registryQuotaCommand(terminal: Terminal): Command {
  const onProject = (verb: string, description: string, act: (api: Api, name: string) => Promise<void>) =>
    leafCommand(verb, description)
      .argument("<project>", projectHelp)
      .action((project: string, options: CommonOptions) =>
        withApi(terminal, options, (api) => act(api, `registry/quotas/${project}`)),
      );
  return nounCommand("quota", "How much projects may hold.")
    .addCommand(
      leafCommand("set", "Limit what a project may hold; what is there beyond that stays.")
        .argument("<project>", projectHelp)
        .argument("<size>", "such as 50GiB", parseSize)
        .action((project: string, limitBytes: number, options: CommonOptions) =>
          withApi(terminal, options, async (api) =>
            printQuota(api, await (await api.quotas()).setQuota({ name: `registry/quotas/${project}`, limitBytes })),
          ),
        ),
    )
    .addCommand(onProject("get", "Show what a project holds, and its limit.", getQuota))
    .addCommand(
      leafCommand("list", "List the projects that have a limit.").action((options: CommonOptions) =>
        withApi(terminal, options, listQuotas),
      ),
    )
    .addCommand(onProject("recount", "Count anew from the store what a project holds.", recountQuota))
    .addCommand(onProject("delete", "Take a project's limit away.", deleteQuota));
}

async function getQuota(api: Api, name: string): Promise<void> {
  await printQuota(api, await (await api.quotas()).getQuota({ name }));
}

async function recountQuota(api: Api, name: string): Promise<void> {
  await printQuota(api, await (await api.quotas()).recountQuota({ name }));
}

async function deleteQuota(api: Api, name: string): Promise<void> {
  await (await api.quotas()).deleteQuota({ name });
  const table = () => `Project ${lastPart(name)} has no limit any more.`;
  await printAnswer(api.terminal, api.options.output, { json: {}, table });
}

async function listQuotas(api: Api): Promise<void> {
  const response = await (await api.quotas()).listQuotas({});
  const { ListQuotasResponse } = await import("#contracts/registry/v1/quotas");
  const rows = () => response.quotas.map((quota) => [lastPart(quota.name), showBytes(quota.usedBytes), limit(quota)]);
  await printAnswer(api.terminal, api.options.output, {
    json: ListQuotasResponse.toJSON(response),
    table: () => (response.quotas.length === 0 ? "No quotas." : renderTable(["PROJECT", "USED", "LIMIT"], rows())),
  });
}

async function printQuota(api: Api, quota: Quota): Promise<void> {
  const contract = await import("#contracts/registry/v1/quotas");
  const fields = [
    ["Project", lastPart(quota.name)],
    ["Used", showBytes(quota.usedBytes)],
    ["Limit", limit(quota)],
    ["Set", showTime(quota.updateTime)],
  ] as const;
  const json = contract.Quota.toJSON(quota);
  await printAnswer(api.terminal, api.options.output, { json, table: () => renderFields(fields) });
}

const limit = ({ limitBytes }: Quota): string => (limitBytes === 0 ? "none" : showBytes(limitBytes));
