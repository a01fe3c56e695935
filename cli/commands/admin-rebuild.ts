import { resolve } from "node:path";
import type { Command } from "commander";
import type {
  RebuildFinding,
  RebuildProgress,
  RebuildRequest,
  RebuildSummary,
  RebuildUpdate,
} from "#contracts/operation/v1/admin";
import { hostName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { CommandEnded } from "../command-ended.ts";
import { exitCodes } from "../exit-codes.ts";
import { leafCommand, operationLeaf } from "../leaf-command.ts";
import { showQuarantined, showRebuild } from "../output/disasters.ts";
import { printAnswer } from "../output/format.ts";
import { createProgressView } from "../output/progress.ts";
import { runOperation } from "../run-operation.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import type { WaitOptions } from "../wait-for-operation.ts";

interface RebuildFlags extends CommonOptions {
  readonly dryRun?: boolean;
  readonly replace?: boolean;
  readonly yes?: boolean;
}

/** stillpoint admin restore, rebuild and quarantine */
export function rebuildCommands(terminal: Terminal): Command[] {
  return [
    leafCommand("restore", "Write records and operations of a backup anew, together with what the hosts know.")
      .argument("<file>", "as backup wrote it")
      .option("--dry-run", "tell what would be done, and do nothing")
      .option("--replace", "into an installation that has workloads: what is in neither backup nor hosts is forgotten")
      .option("--yes", "with --replace: do not ask")
      .action((file: string, options: RebuildFlags) => restore(terminal, resolve(file), options)),
    leafCommand("rebuild", "Write records that were lost anew, from what the hosts know; what runs is left alone.")
      .option("--dry-run", "tell what would be done, and do nothing")
      .action((options: RebuildFlags) => withApi(terminal, options, (api) => rebuild(api, options))),
    leafCommand(
      "quarantine",
      "List workloads on hosts that no record stands for; nothing starts or deletes them.",
    ).action((options: CommonOptions) => withApi(terminal, options, listQuarantined)),
  ];
}

async function restore(terminal: Terminal, file: string, options: RebuildFlags): Promise<void> {
  const { verifyBackup } = await import("#libs/backup");
  await verifyBackup(file);
  const asks = options.replace === true && options.yes !== true && options.dryRun !== true;
  if (asks) await confirm(terminal, "records that neither the backup nor a host knows will be forgotten");
  await withApi(terminal, options, (api) => rebuild(api, options, file));
}

async function confirm(terminal: Terminal, what: string): Promise<void> {
  const answer = await terminal.ask(`${what[0]?.toUpperCase()}${what.slice(1)}. Go on? [y/N] `);
  if (answer === undefined) throw new UsageError(what, { help: "Pass --yes to go on." });
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandEnded(exitCodes.failed);
}

async function rebuild(api: Api, options: RebuildFlags, file?: string): Promise<void> {
  const { terminal } = api;
  const contract = await import("#contracts/operation/v1/admin");
  const updates = (await api.admin()).rebuild(requests(options, file), { signal: terminal.signal });
  const { findings, summary } = await told(terminal, updates);
  const json = {
    findings: findings.map((finding) => contract.RebuildFinding.toJSON(finding)),
    summary: contract.RebuildSummary.toJSON(summary),
  };
  await printAnswer(terminal, options.output, { json, table: () => showRebuild(findings, summary) });
  if (findings.some(({ action }) => action === "failed")) throw new CommandEnded(exitCodes.failed);
}

/** What it has come to in the end; progress is shown meanwhile. */
async function told(terminal: Terminal, updates: AsyncIterable<RebuildUpdate>) {
  const progress = createProgressView(terminal);
  const findings: RebuildFinding[] = [];
  let summary: RebuildSummary = { dryRun: false, counts: {}, notRebuilt: [], hosts: 0, hostsAnswered: 0 };
  try {
    for await (const { update } of updates) {
      if (update?.$case === "finding") findings.push(update.value);
      else if (update?.$case === "summary") summary = update.value;
      else if (update?.$case === "progress") progress.update(shown(update.value));
    }
  } finally {
    progress.end();
  }
  return { findings, summary };
}

const shown = ({ phase, done, total }: RebuildProgress) => ({
  what: words[phase] ?? phase,
  percent: total === 0 ? 0 : Math.floor((100 * done) / total),
});

const words: Readonly<Record<string, string>> = {
  hosts: "asking the hosts",
  records: "writing records",
  operations: "writing operations",
};

async function* requests({ dryRun = false, replace = false }: RebuildFlags, file?: string) {
  const options = { dryRun, replace, withBackup: file !== undefined };
  yield { request: { $case: "options", value: options } } satisfies RebuildRequest;
  if (file === undefined) return;
  const { readBackup } = await import("#libs/backup");
  for await (const value of readBackup(file)) yield { request: { $case: "item", value } } satisfies RebuildRequest;
}

interface DiscardOptions extends CommonOptions, WaitOptions {
  readonly host: string;
  readonly yes?: boolean;
}

/** stillpoint admin discard */
export function discardCommand(terminal: Terminal): Command {
  return operationLeaf("discard", "Delete what a workload in quarantine has on its host, checkpoints too.")
    .argument("<uid>", "as quarantine lists it")
    .requiredOption("--host <host>", "the host that has it")
    .option("--yes", "do not ask")
    .action(async (uid: string, options: DiscardOptions) => {
      const what = `all that ${options.host} has of ${uid}, checkpoints too`;
      if (options.yes !== true) await confirm(terminal, `${what}, will be deleted`);
      const name = `${hostName(options.host)}/quarantine/${uid}`;
      await runOperation(terminal, options, {
        start: async (api, requestId) => (await api.admin()).discardQuarantined({ name, requestId }),
        told: () => `Deleted ${what}.`,
      });
    });
}

async function listQuarantined(api: Api): Promise<void> {
  const response = await (await api.admin()).listQuarantined({});
  const { ListQuarantinedResponse } = await import("#contracts/operation/v1/admin");
  const json = ListQuarantinedResponse.toJSON(response);
  await printAnswer(api.terminal, api.options.output, { json, table: () => showQuarantined(response.workloads) });
}
