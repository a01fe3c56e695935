/** First and last byte, both inclusive. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The range that a GET asks for (RFC 9110, section 14): undefined for the whole, also where several ranges or another
 * unit are asked for; "unsatisfiable" where nothing of it exists.
 */
export function requestedRange(header: string | undefined, sizeBytes: number): ByteRange | "unsatisfiable" | undefined {
  const [isRange, from = "", to = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (isRange === undefined || (from === "" && to === "")) return undefined;
  const first = from === "" ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const last = from === "" || to === "" ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  return first > last || first >= sizeBytes ? "unsatisfiable" : { first, last };
}

/** `Content-Range: <first>-<last>` of a chunk (distribution-spec 1.1, without the unit); undefined when malformed. */
export function chunkRange(header: string): ByteRange | undefined {
  const [, first, last] = /^(\d+)-(\d+)$/.exec(header) ?? [];
  if (first === undefined || last === undefined) return undefined;
  const range = { first: Number(first), last: Number(last) };
  return range.first <= range.last && Number.isSafeInteger(range.last) ? range : undefined;
}

/** `Range` of an upload that holds so many bytes; the specification has no form for an empty one but `0-0`. */
export function uploadRange(offset: number): string {
  return `0-${Math.max(0, offset - 1)}`;
}
