/** True for the long suite, make test-faults: every variant, and what takes its time; make test has a short one of each. */
export const isLong = process.env.STILLPOINT_FAULTS === "all";

/** Cases of one test: `more` are variants, for the long suite only. */
export const casesOf = <Case>(short: readonly Case[], more: readonly Case[]): readonly Case[] =>
  isLong ? [...short, ...more] : short;
