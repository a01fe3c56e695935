import { OciError } from "./oci-error.ts";

export interface Page {
  readonly items: readonly string[];
  /** What the next page begins after; undefined on the last page. */
  readonly last?: string;
}

/** The sorted names after `last`, at most `n` of them. @throws OciError PAGINATION_NUMBER_INVALID */
export function pageOf(names: readonly string[], query: { n: string | null; last: string | null }): Page {
  const { last } = query;
  const after = [...names].sort(byCodeUnit).filter((name) => last === null || byCodeUnit(name, last) > 0);
  if (query.n === null) return { items: after };
  if (!/^\d{1,9}$/.test(query.n)) throw new OciError("PAGINATION_NUMBER_INVALID", "n must be a number");
  const items = after.slice(0, Number(query.n));
  const end = items.at(-1);
  return end === undefined || items.length === after.length ? { items } : { items, last: end };
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
