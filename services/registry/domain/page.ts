import { OciError } from "./oci-error.ts";

/** Which part of a list is asked for. */
export interface PageQuery {
  /** How many at most; all when undefined. */
  readonly size: number | undefined;
  /** The page begins after it. */
  readonly last: string | undefined;
}

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

/** Reads `n` and `last` (distribution-spec 1.1, "Listing Tags"). @throws OciError PAGINATION_NUMBER_INVALID */
export function readPageQuery(query: URLSearchParams): PageQuery {
  const n = query.get("n");
  if (n !== null && !/^\d{1,9}$/.test(n)) throw new OciError("PAGINATION_NUMBER_INVALID", "n must be a number");
  return { size: n === null ? undefined : Number(n), last: query.get("last") ?? undefined };
}

/** The names after `last` in order, at most `size` of them. */
export function pageOf(names: readonly string[], { size, last }: PageQuery, limit?: PageLimit): Page {
  const after = [...names].sort(byCodeUnit).filter((name) => last === undefined || byCodeUnit(name, last) > 0);
  const wanted = after.slice(0, size);
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
