import { type Command, InvalidArgumentError } from "commander";
import type { Retention, Schedule, ScheduleAction } from "#contracts/checkpoint/v1/schedule";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import type { CommonOptions } from "../api.ts";
import { parseVmCheckpointType } from "../parse/checkpoint-type.ts";
import { collect } from "../parse/collect.ts";
import { parseDuration } from "../parse/duration.ts";
import { collectLabel } from "../parse/label.ts";
import { wholeNumber } from "../parse/whole-number.ts";
import { parseWorkload, workloadName } from "../parse/workload.ts";
import { UsageError } from "../usage-error.ts";

/** The options that say what a schedule is; each absent one stays as it is. */
export interface FieldOptions extends CommonOptions, RetentionOptions {
  readonly vm?: string;
  readonly container?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly type?: CheckpointType;
  readonly exclude?: readonly string[];
  readonly jitter?: { readonly seconds: number };
  readonly skipMissed?: boolean;
  readonly action?: ScheduleAction;
  readonly push?: string;
}

export type RetentionOptions = { readonly [Rule in keyof Retention]?: number };

const rules = {
  keepLast: "checkpoints",
  keepHourly: "hours",
  keepDaily: "days",
  keepWeekly: "weeks",
  keepMonthly: "months",
  keepYearly: "years",
} as const satisfies Record<keyof Retention, string>;

export function withFields(command: Command): Command {
  command
    .option("--vm <name>", "take checkpoints of this VM", parseWorkload)
    .option("--container <name>", "or of this container", parseContainer)
    .option("--label <key=value>", "or of all VMs and containers with this label; may be repeated", collectLabel)
    .option("--cron <expression>", "when: minute, hour, day of month, month, day of week")
    .option("--time-zone <zone>", "of the times and of what is a day to retention (default: UTC)")
    .option(
      "--type <type>",
      "production, production-only, standard or default (the workload's own)",
      parseVmCheckpointType,
    )
    .option("--exclude <disk>", "an additional disk or volume to leave out; may be repeated", collect(String))
    .option("--jitter <duration>", "put each run off by up to this much, such as 10m", parseDuration)
    .option("--action <action>", "checkpoint, or drill: try the newest checkpoint (default: checkpoint)", parseAction)
    .option("--push <repository>", "push each checkpoint there once it is taken")
    .option("--skip-missed", "do not make up for missed runs")
    .option("--no-skip-missed", "make up for missed runs with one (the default)");
  return withRetention(command);
}

// Written out and not imported: a parser must not load the contracts for --help.
function parseAction(text: string): ScheduleAction {
  if (text === "checkpoint") return "SCHEDULE_ACTION_CHECKPOINT";
  if (text === "drill") return "SCHEDULE_ACTION_DRILL";
  throw new InvalidArgumentError("It is checkpoint or drill.");
}

export function withRetention(command: Command): Command {
  for (const [name, what] of Object.entries(rules)) {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} <n>`;
    const help = name === "keepLast" ? `keep the last n ${what}` : `keep the newest of each of the last n ${what}`;
    command.option(flag, help, wholeNumber(0, 1000));
  }
  return command;
}

/** The fields that were given, by the names of the contract: also what an update mask is made of. */
export function fieldsOf(options: FieldOptions, before?: Schedule): Partial<Schedule> {
  const { cron, timeZone, type, exclude, jitter, skipMissed, action, push } = options;
  const fields = {
    ...selectionOf(options),
    ...{ cron, timeZone, skipMissed, action, push, checkpointType: type, excludeDisks: exclude },
    jitter: jitter && { ...jitter, nanos: 0 },
    retention: retentionOf(options, before?.retention),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** A schedule is for one workload or for labels: setting one takes the other away. */
function selectionOf({ vm, container, label, project }: FieldOptions): Partial<Schedule> {
  if (vm !== undefined && container !== undefined) {
    throw new UsageError("a schedule is for a VM or for a container", { help: "Name one of them, or use --label." });
  }
  const workload = vm ?? container;
  const byName = workload === undefined ? {} : { vm: workloadName(project, workload), labelSelector: {} };
  if (label === undefined) return byName;
  return workload === undefined ? { vm: "", labelSelector: label } : { ...byName, labelSelector: label };
}

/** As `parseWorkload` gives it, also for a bare NAME. */
const parseContainer = (text: string): string => parseWorkload(text.includes("/") ? text : `container/${text}`);

/** What was given over what there is; undefined when nothing was given. */
export function retentionOf(options: RetentionOptions, before?: Retention): Retention | undefined {
  const names = Object.keys(rules) as (keyof Retention)[];
  const given = names.filter((name) => options[name] !== undefined);
  if (given.length === 0) return undefined;
  const none = { keepLast: 0, keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepYearly: 0 };
  return { ...none, ...before, ...Object.fromEntries(given.map((name) => [name, options[name] ?? 0])) };
}
