import type { Command } from "commander";
import { allPages } from "../all-pages.ts";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showHoldings, showPlan, showProgress, showUsage } from "../output/collection.ts";
import { printAnswer, printItem } from "../output/format.ts";
import type { Terminal } from "../terminal.ts";

interface GcOptions extends CommonOptions {
  readonly dryRun?: true;
  readonly repository?: string;
}

/** stillpoint registry gc */
export function registryGcCommand(terminal: Terminal): Command {
  return leafCommand(
    "gc",
    "Delete now what nothing refers to and has waited for long enough, while the registry serves.",
  )
    .option("--dry-run", "only show what would go, and when")
    .option("--repository <repository>", "in this one alone")
    .action((options: GcOptions) =>
      withApi(terminal, options, (api) => (options.dryRun === true ? plan(api, options) : collect(api, options))),
    );
}

/** stillpoint registry why */
export function registryWhyCommand(terminal: Terminal): Command {
  return leafCommand("why", "Show why something is kept, or when it goes.")
    .argument("<ref>", "an image, or the digest of anything")
    .action((reference: string, options: CommonOptions) => withApi(terminal, options, (api) => why(api, reference)));
}

/** stillpoint registry usage */
export function registryUsageCommand(terminal: Terminal): Command {
  return leafCommand("usage", "Show what each repository holds.").action((options: CommonOptions) =>
    withApi(terminal, options, usage),
  );
}

async function plan(api: Api, { repository = "" }: GcOptions): Promise<void> {
  const client = await api.collection();
  const items = await allPages(async (pageToken) => {
    const page = await client.planCollection({ repository, pageToken });
    return { items: page.items, next: page.nextPageToken };
  });
  const { PlanCollectionResponse } = await import("#contracts/registry/v1/collection");
  const json = PlanCollectionResponse.toJSON({ items, nextPageToken: "" });
  await printAnswer(api.terminal, api.options.output, { json, table: () => showPlan(items, new Date()) });
}

async function collect(api: Api, { repository = "" }: GcOptions): Promise<void> {
  const { CollectProgress } = await import("#contracts/registry/v1/collection");
  for await (const progress of (await api.collection()).collect({ repository })) {
    const json = CollectProgress.toJSON(progress);
    await printItem(api.terminal, api.options.output, { json, table: () => showProgress(progress) });
  }
}

async function why(api: Api, reference: string): Promise<void> {
  const answer = await (await api.collection()).explainKept({ reference });
  const { ExplainKeptResponse } = await import("#contracts/registry/v1/collection");
  const table = () => showHoldings(answer.holdings, new Date());
  await printAnswer(api.terminal, api.options.output, { json: ExplainKeptResponse.toJSON(answer), table });
}

async function usage(api: Api): Promise<void> {
  const client = await api.collection();
  const repositories = await allPages(async (pageToken) => {
    const page = await client.getUsage({ pageToken });
    return { items: page.repositories, next: page.nextPageToken };
  });
  const { GetUsageResponse } = await import("#contracts/registry/v1/collection");
  const json = GetUsageResponse.toJSON({ repositories, nextPageToken: "" });
  await printAnswer(api.terminal, api.options.output, { json, table: () => showUsage(repositories) });
}
