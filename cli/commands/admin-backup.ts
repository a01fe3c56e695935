import { resolve } from "node:path";
import type { Command } from "commander";
import type { BackupHeader, BackupItem } from "#contracts/operation/v1/admin";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { showBackup } from "../output/disasters.ts";
import { printAnswer } from "../output/format.ts";
import { createProgressView } from "../output/progress.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";

interface BackupOptions extends CommonOptions {
  readonly events?: boolean;
  readonly verify?: boolean;
}

/** stillpoint admin backup */
export function backupCommand(terminal: Terminal): Command {
  return leafCommand("backup", "Write all records and operations into a file, while everything goes on.")
    .argument("<file>", "must not exist")
    .option("--events", "with the public events, for reading: they are not restored")
    .option("--verify", "instead: check every message of a backup that was written")
    .addHelpText(
      "after",
      "\nVolumes, disks, checkpoints and images are not in it: they are on the hosts and in the registry's store.\n" +
        "Nor are keys and certificates: keep copies of these as well.",
    )
    .action(async (file: string, options: BackupOptions) => {
      const path = resolve(file);
      if (options.verify !== true) return await withApi(terminal, options, (api) => backUp(api, path, options));
      if (options.events === true)
        throw new UsageError("--events is for writing a backup, --verify for checking one", { help: "Leave one out." });
      const { verifyBackup } = await import("#libs/backup");
      await print(terminal, options, path, await verifyBackup(path));
    });
}

async function backUp(api: Api, path: string, options: BackupOptions): Promise<void> {
  const { terminal } = api;
  const [{ writeBackup }, admin] = await Promise.all([import("#libs/backup"), api.admin()]);
  const { signal } = terminal;
  const items = admin.backup({ withEvents: options.events === true }, { signal });
  const progress = createProgressView(terminal);
  const onItem = counting((percent) => progress.update({ what: "backing up", percent }));
  const written = await writeBackup(path, items, { signal, onItem }).finally(() => progress.end());
  await print(terminal, options, path, written);
}

/** Tells how far it is whenever that is a whole percent more. */
function counting(tell: (percent: number) => void): (item: BackupItem) => void {
  let [done, total, told] = [0, 1, -1];
  return ({ item }) => {
    if (item?.$case === "header") total = Math.max(1, messagesIn(item.value));
    else done += 1;
    const percent = Math.min(100, Math.floor((100 * done) / total));
    if (percent > told) tell(percent);
    told = Math.max(told, percent);
  };
}

const messagesIn = ({ streams }: BackupHeader): number =>
  streams.reduce((sum, { name, messages }) => sum + (name === "REC" || name === "OPS" ? messages : 0), 0);

type Verified = Awaited<ReturnType<typeof import("#libs/backup")["verifyBackup"]>>;

async function print(terminal: Terminal, options: CommonOptions, path: string, backup: Verified): Promise<void> {
  const contract = await import("#contracts/operation/v1/admin");
  const json = {
    file: path,
    header: contract.BackupHeader.toJSON(backup.header),
    trailer: contract.BackupTrailer.toJSON({ counts: [...backup.counts] }),
  };
  await printAnswer(terminal, options.output, { json, table: () => showBackup(path, backup) });
}
