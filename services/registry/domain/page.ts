import { OciError } from "./oci-error.ts";

export interface Page {
  readonly items: readonly string[];
  /** What the next page begins after; undefined on the last page. */
  readonly last?: string;
}

/** A page ends before the item that would make it longer than this, but has one at least. */
export interface PageLimit {
  readonly maxBytes: number;
  readonly sizeOf: (name: string) => number;
}

/** The sorted names after `last`, at most `n` of them. @throws OciError PAGINATION_NUMBER_INVALID */
export function pageOf(
  names: readonly string[],
  query: { readonly n: string | null; readonly last: string | null },
  limit?: PageLimit,
): Page {
  const { last } = query;
  const after = [...names].sort(byCodeUnit).filter((name) => last === null || byCodeUnit(name, last) > 0);
  if (query.n !== null && !/^\d{1,9}$/.test(query.n)) {
    throw new OciError("PAGINATION_NUMBER_INVALID", "n must be a number");
  }
  const wanted = query.n === null ? after : after.slice(0, Number(query.n));
  const items = limit === undefined ? wanted : wanted.slice(0, countWithin(wanted, limit));
  const end = items.at(-1);
  return end === undefined || items.length === after.length ? { items } : { items, last: end };
}

function countWithin(names: readonly string[], { maxBytes, sizeOf }: PageLimit): number {
  let bytes = 0;
  const first = names.findIndex((name, place) => {
    bytes += sizeOf(name);
    return place > 0 && bytes > maxBytes;
  });
  return first === -1 ? names.length : first;
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
