import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { repository } from "../harness/command.ts";
import { seeded } from "./draw.ts";
import type { LogsHistory } from "./logs-history.ts";

/** True for the long suite: make test-faults. */
export const isLong = process.env.STILLPOINT_FAULTS === "all";

/** How many faults: in the short suite, in the long one, or as STILLPOINT_FAULT_COUNT says. */
export const countOf = (short: number, long: number): number =>
  Number(process.env.STILLPOINT_FAULT_COUNT ?? (isLong ? long : short));

/** Of this run of the tests; STILLPOINT_SEED repeats one. */
export const runSeed = Number(process.env.STILLPOINT_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Where the story of a run comes from. */
interface Told {
  readonly history: LogsHistory;
  /** Its folder has the log of every process. */
  readonly cluster: { readonly folder: string };
}

/** One run under faults: its seed decides them, its log tells them, and both are printed when it fails. */
export class FaultRun {
  readonly name: string;
  readonly random: () => number;
  readonly counts: Record<string, number> = {};
  readonly log: string[] = [];
  readonly #start = performance.now();

  constructor(name: string) {
    this.name = name;
    this.random = seeded(runSeed);
  }

  /** One of them, as the seed says. */
  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.random() * items.length)];
    if (item === undefined) throw new Error("there is nothing to pick from");
    return item;
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  /** Notes that a fault was made. */
  fault(kind: string, what: string): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    this.note(`${kind} ${what}`);
  }

  note(line: string): void {
    this.log.push(`${((performance.now() - this.#start) / 1000).toFixed(1)} s  ${line}`);
  }

  /** Does the work, and says what happened: the counts, or with the failure all that is needed to look into it. */
  async tell(work: () => Promise<void>, stage: Told): Promise<void> {
    try {
      await work();
    } catch (error) {
      const folder = join(repository, "fault-logs", `${this.name}-${runSeed}`);
      await this.#save(folder, stage);
      await writeFile(join(folder, "failure.txt"), inspect(error));
      const faults = this.log.slice(-40).join("\n  ");
      const story = `STILLPOINT_SEED=${runSeed} repeats the faults; the logs of this run are in ${folder}`;
      throw new Error(`${this.name} failed. ${story}\n  ${faults}\n${String(error)}`, { cause: error });
    }
    const seconds = Math.round((performance.now() - this.#start) / 1000);
    console.log(`${this.name}: seed ${runSeed}, ${seconds} s, ${JSON.stringify(this.counts)}`);
  }

  async #save(folder: string, { history, cluster }: Told): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, "faults.log"), `${this.log.join("\n")}\n`);
    const logs = (await readdir(cluster.folder)).filter((name) => name.endsWith(".log"));
    for (const name of logs) await copyFile(join(cluster.folder, name), join(folder, name));
    await writeFile(join(folder, "writes.log"), `${history.lines.join("\n")}\n`);
    await writeFile(join(folder, "records.json"), JSON.stringify(Object.fromEntries(history.records), undefined, 1));
    await writeFile(join(folder, "operations.json"), JSON.stringify([...history.operations.values()], undefined, 1));
  }
}
