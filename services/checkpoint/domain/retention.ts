/**
 * Which checkpoints of one VM a schedule keeps: restic's `forget` (which Proxmox and others share but for what is said
 * below). Pure.
 *
 * Each rule goes through the checkpoints from the newest on and keeps the newest of each period: of each of the last n
 * hours, days, weeks, months or years that have one. Periods without a checkpoint do not count. A rule that has kept
 * fewer than n when it comes to the oldest keeps that too, so that the history becomes as long as asked for. The
 * rules are independent and add up: what any of them keeps is kept. (Proxmox lets each rule begin where the one before
 * has ended instead.) Without any rule everything is kept.
 *
 * What is held is kept in addition, and counts for the rules as any other.
 */
export interface RetentionRules {
  readonly keepLast: number;
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  readonly keepYearly: number;
}

export interface Candidate {
  readonly uid: string;
  readonly time: Date;
  /** Why it must stay whatever the rules say: "protected", "in use", "group". */
  readonly holds: readonly string[];
}

export interface Verdict<Node extends Candidate = Candidate> {
  readonly candidate: Node;
  /** Names of rules and holds; it goes when there is none. */
  readonly keptBy: readonly string[];
}

/** A verdict on each, newest first. `timeZone` is an IANA name: it says where an hour, a day and a week begin. */
export function decideRetention<Node extends Candidate>(
  candidates: readonly Node[],
  rules: RetentionRules,
  timeZone: string,
): Verdict<Node>[] {
  const newestFirst = candidates.toSorted(
    (a, b) => b.time.getTime() - a.time.getTime() || (a.uid < b.uid ? 1 : a.uid > b.uid ? -1 : 0),
  );
  const localTime = localTimes(timeZone);
  const counters = ruleTable.filter(({ field }) => rules[field] > 0).map((row) => new Counter(row, rules[row.field]));
  return newestFirst.map((candidate, index) => {
    const at = { local: localTime(candidate.time), index, isOldest: index === newestFirst.length - 1 };
    const keptBy = counters.map((counter) => counter.keeps(at)).filter((name) => name !== undefined);
    return { candidate, keptBy: [...candidate.holds, ...(counters.length === 0 ? ["no rules"] : keptBy)] };
  });
}

/** One rule on its way from the newest to the oldest. */
class Counter {
  readonly #row: RuleRow;
  #left: number;
  #last = "";

  constructor(row: RuleRow, count: number) {
    this.#row = row;
    this.#left = count;
  }

  /** Why it keeps this one; undefined when it does not. */
  keeps({ local, index, isOldest }: { local: LocalTime; index: number; isOldest: boolean }): string | undefined {
    const period = this.#row.periodOf(local, index);
    const isNew = period !== this.#last;
    if (this.#left === 0 || !(isNew || isOldest)) return undefined;
    this.#left -= 1;
    this.#last = period;
    return isNew ? this.#row.name : `${this.#row.name} (oldest)`;
  }
}

/** What goes, oldest first. */
export function expired<Node extends Candidate>(verdicts: readonly Verdict<Node>[]): Node[] {
  return verdicts
    .filter(({ keptBy }) => keptBy.length === 0)
    .map(({ candidate }) => candidate)
    .toReversed();
}

interface LocalTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
}

interface RuleRow {
  readonly field: keyof RetentionRules;
  readonly name: string;
  readonly periodOf: (local: LocalTime, index: number) => string;
}

const monthOf = ({ year, month }: LocalTime) => `${year}-${month}`;
const dayOf = (local: LocalTime) => `${monthOf(local)}-${local.day}`;

const ruleTable: readonly RuleRow[] = [
  { field: "keepLast", name: "keep-last", periodOf: (_local, index) => `${index}` },
  { field: "keepHourly", name: "keep-hourly", periodOf: (local) => `${dayOf(local)} ${local.hour}` },
  { field: "keepDaily", name: "keep-daily", periodOf: dayOf },
  { field: "keepWeekly", name: "keep-weekly", periodOf: weekOf },
  { field: "keepMonthly", name: "keep-monthly", periodOf: monthOf },
  { field: "keepYearly", name: "keep-yearly", periodOf: ({ year }) => `${year}` },
];

const dayMs = 24 * 60 * 60 * 1000;

/** The week by its Monday. */
function weekOf({ year, month, day }: LocalTime): string {
  const days = Date.UTC(year, month - 1, day) / dayMs;
  // 1970-01-01, day 0, was a Thursday.
  return `${days - ((days + 3) % 7)}`;
}

function localTimes(timeZone: string): (time: Date) => LocalTime {
  const format = new Intl.DateTimeFormat("en-US", {
    ...{ timeZone, calendar: "gregory", numberingSystem: "latn", hourCycle: "h23" },
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric" },
  });
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0;
    return { year: part("year"), month: part("month"), day: part("day"), hour: part("hour") };
  };
}
