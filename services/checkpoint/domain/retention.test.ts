import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, decideRetention, expired, type RetentionRules } from "./retention.ts";

const none: RetentionRules = {
  keepLast: 0,
  keepHourly: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
};
const dayMs = 24 * 60 * 60 * 1000;

const at = (iso: string, ...holds: string[]): Candidate => ({ uid: iso, time: new Date(iso), holds });

/** One each day (or so many days) up to and with the last, in UTC at 22:00. */
function every(days: number, { last, count }: { last: string; count: number }): Candidate[] {
  const end = Date.parse(`${last}T22:00:00Z`);
  return Array.from({ length: count }, (_, back) => at(new Date(end - back * days * dayMs).toISOString()));
}

const kept = (candidates: Candidate[], rules: Partial<RetentionRules>, timeZone = "UTC") =>
  decideRetention(candidates, { ...none, ...rules }, timeZone)
    .filter(({ keptBy }) => keptBy.length > 0)
    .map(({ candidate, keptBy }) => [candidate.uid.slice(0, 16), ...keptBy]);

describe("as restic documents it", () => {
  test("one each Sunday and keep-daily 4: the last four Sundays, since days without one do not count", () => {
    expect(kept(every(7, { last: "2026-03-29", count: 20 }), { keepDaily: 4 }).map(([day]) => day)).toEqual([
      "2026-03-29T22:00",
      "2026-03-22T22:00",
      "2026-03-15T22:00",
      "2026-03-08T22:00",
    ]);
  });

  test("one each day for 100 years: 7 days, 4 more weeks, 11 or 12 more months, 74 or 75 more years", () => {
    const daily = every(1, { last: "2015-09-14", count: 36_525 });
    const verdicts = kept(daily, { keepDaily: 7, keepWeekly: 5, keepMonthly: 12, keepYearly: 75 });
    const by = (rule: string) => verdicts.filter((keptBy) => keptBy.includes(rule));
    expect(by("keep-daily")).toHaveLength(7);
    expect(by("keep-weekly")).toHaveLength(5);
    expect(by("keep-weekly").filter((keptBy) => keptBy.includes("keep-daily"))).toHaveLength(2);
    expect(by("keep-monthly").map(([day]) => day?.slice(0, 10))).toEqual([
      ...["2015-09-14", "2015-08-31", "2015-07-31", "2015-06-30", "2015-05-31", "2015-04-30"],
      ...["2015-03-31", "2015-02-28", "2015-01-31", "2014-12-31", "2014-11-30", "2014-10-31"],
    ]);
    expect(by("keep-yearly")).toHaveLength(75);
    expect(by("keep-yearly").at(-1)?.[0]).toBe("1941-12-31T22:00");
  });

  test("several a day: the last of each day, and with it the oldest while the rule has some left", () => {
    const candidates = [
      ...[at("2026-03-01T08:00:00Z"), at("2026-03-01T20:00:00Z")],
      ...[at("2026-03-02T08:00:00Z"), at("2026-03-02T20:00:00Z")],
    ];
    expect(kept(candidates, { keepDaily: 2 }).map(([time]) => time)).toEqual(["2026-03-02T20:00", "2026-03-01T20:00"]);
    expect(kept(candidates, { keepDaily: 3 })).toEqual([
      ["2026-03-02T20:00", "keep-daily"],
      ["2026-03-01T20:00", "keep-daily"],
      ["2026-03-01T08:00", "keep-daily (oldest)"],
    ]);
  });

  test("without a rule everything stays", () => {
    const candidates = every(1, { last: "2026-03-29", count: 3 });
    expect(kept(candidates, {})).toHaveLength(3);
    expect(kept(candidates, {})[0]).toEqual(["2026-03-29T22:00", "no rules"]);
  });
});

describe("periods", () => {
  test("a week is from Monday to Sunday, also over the end of a year (as Proxmox documents it)", () => {
    const candidates = [at("2027-01-04T00:00:00Z"), at("2027-01-03T23:59:00Z"), at("2026-12-28T00:00:00Z")];
    expect(kept([...candidates, at("2026-12-27T23:59:00Z")], { keepWeekly: 3 })).toEqual([
      ["2027-01-04T00:00", "keep-weekly"],
      ["2027-01-03T23:59", "keep-weekly"],
      ["2026-12-27T23:59", "keep-weekly"],
    ]);
  });

  test("a day is one of the schedule's time zone", () => {
    const candidates = [at("2026-03-02T05:00:00Z"), at("2026-03-02T03:00:00Z"), at("2026-03-01T06:00:00Z")];
    expect(kept(candidates, { keepDaily: 2 }).map(([time]) => time)).toEqual(["2026-03-02T05:00", "2026-03-01T06:00"]);
    // In New York the second is of the evening before.
    expect(kept(candidates, { keepDaily: 2 }, "America/New_York").map(([time]) => time)).toEqual([
      "2026-03-02T05:00",
      "2026-03-02T03:00",
    ]);
  });

  test("an hour that the clock shows twice in autumn is one hour", () => {
    const candidates = [at("2026-10-25T01:30:00Z"), at("2026-10-25T00:30:00Z"), at("2026-10-24T23:30:00Z")];
    expect(kept(candidates, { keepHourly: 2 }, "Europe/Berlin").map(([time]) => time)).toEqual([
      "2026-10-25T01:30",
      "2026-10-24T23:30",
    ]);
  });

  test("midnight begins a day and an hour", () => {
    const candidates = [at("2026-03-02T00:00:00Z"), at("2026-03-01T23:59:00Z")];
    expect(kept([...candidates, at("2026-03-01T00:30:00Z")], { keepDaily: 2 }).map(([time]) => time)).toEqual([
      "2026-03-02T00:00",
      "2026-03-01T23:59",
    ]);
  });
});

test("what is held stays and is told", () => {
  const candidates = [at("2026-03-03T00:00:00Z"), at("2026-03-02T00:00:00Z", "protected", "in use")];
  expect(kept(candidates, { keepLast: 1 })).toEqual([
    ["2026-03-03T00:00", "keep-last"],
    ["2026-03-02T00:00", "protected", "in use"],
  ]);
});

describe("whatever there is and whatever is asked", () => {
  const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia");
  const times = fc.integer({ min: Date.parse("2024-01-01"), max: Date.parse("2027-12-31") });
  // Near each other too: within hours of one day, and over years.
  const near = fc.integer({ min: Date.parse("2026-10-24"), max: Date.parse("2026-10-27") });
  const candidates = fc.array(fc.tuple(fc.oneof(times, near), fc.boolean()), { maxLength: 40 }).map((all) =>
    all.map(
      ([time, held], index): Candidate => ({
        uid: `ckpt-${index}`,
        time: new Date(time),
        holds: held && index % 3 === 0 ? ["protected"] : [],
      }),
    ),
  );
  const count = fc.oneof(fc.constant(0), fc.nat(6));
  const rules: fc.Arbitrary<RetentionRules> = fc.record({
    keepLast: count,
    keepHourly: count,
    keepDaily: count,
    keepWeekly: count,
    keepMonthly: count,
    keepYearly: count,
  });
  const uids = (all: readonly Candidate[]) => all.map(({ uid }) => uid).sort();

  /** What the rule says in words, reckoned another way: the newest of each of the newest n periods. */
  function newestOfPeriods(all: readonly Candidate[], n: number, period: (time: Date) => string): Set<string> {
    const newest = new Map<string, Candidate>();
    for (const each of all) {
      const before = newest.get(period(each.time));
      const isNewer =
        before === undefined || each.time > before.time || (+each.time === +before.time && each.uid > before.uid);
      if (isNewer) newest.set(period(each.time), each);
    }
    const latest = [...newest.values()].sort((a, b) => +b.time - +a.time);
    return new Set(latest.slice(0, n).map(({ uid }) => uid));
  }

  const shown = (time: Date, timeZone: string) => time.toLocaleString("sv-SE", { timeZone });

  test("nothing goes that a rule asks for, nor what is held", () => {
    fc.assert(
      fc.property(candidates, rules, zones, (all, wanted, zone) => {
        const gone = new Set(uids(expired(decideRetention(all, wanted, zone))));
        const asked = [
          ...newestOfPeriods(all, wanted.keepHourly, (time) => shown(time, zone).slice(0, 13)),
          ...newestOfPeriods(all, wanted.keepDaily, (time) => shown(time, zone).slice(0, 10)),
          ...newestOfPeriods(all, wanted.keepMonthly, (time) => shown(time, zone).slice(0, 7)),
          ...newestOfPeriods(all, wanted.keepYearly, (time) => shown(time, zone).slice(0, 4)),
          ...all.filter(({ holds }) => holds.length > 0).map(({ uid }) => uid),
        ];
        expect(asked.filter((uid) => gone.has(uid))).toEqual([]);
      }),
    );
  });

  test("no rule keeps more than it was asked for", () => {
    fc.assert(
      fc.property(candidates, rules, zones, (all, wanted, zone) => {
        const verdicts = decideRetention(all, wanted, zone);
        const keptBy = (rule: string) =>
          verdicts.filter((it) => it.keptBy.some((name) => name.startsWith(rule))).length;
        expect(keptBy("keep-last")).toBe(Math.min(wanted.keepLast, all.length));
        expect(keptBy("keep-hourly")).toBeLessThanOrEqual(wanted.keepHourly);
        expect(keptBy("keep-weekly")).toBeLessThanOrEqual(wanted.keepWeekly);
        expect(keptBy("keep-yearly")).toBeLessThanOrEqual(wanted.keepYearly);
      }),
    );
  });

  test("done again, it deletes nothing more; in any order, it decides the same", () => {
    fc.assert(
      fc.property(candidates, rules, zones, (all, wanted, zone) => {
        const gone = new Set(uids(expired(decideRetention(all, wanted, zone))));
        const left = all.filter(({ uid }) => !gone.has(uid));
        expect(expired(decideRetention(left, wanted, zone))).toEqual([]);
        expect(uids(expired(decideRetention(all.toReversed(), wanted, zone)))).toEqual([...gone].sort());
      }),
    );
  });

  test("without rules everything stays; with one, the newest always does", () => {
    fc.assert(
      fc.property(candidates, rules, zones, (all, wanted, zone) => {
        expect(expired(decideRetention(all, none, zone))).toEqual([]);
        const [newest] = decideRetention(all, wanted, zone);
        if (newest !== undefined) expect(newest.keptBy).not.toEqual([]);
      }),
    );
  });
});
