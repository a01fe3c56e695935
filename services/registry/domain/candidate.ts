/**
 * The states of something that a repository holds, and what leaves each. Only `nextStep` decides.
 *
 * - kept: something refers to it. No mark, or one that is about to go.
 * - candidate: nothing referred to it when the mark was written. It is served as ever; whoever asks for it, or refers to
 *   it, takes the mark away, and the wait begins again.
 * - condemned: a candidate for longer than its wait. A collector says in an attempt what it is about to delete, looks
 *   for references and for the mark again, and only then deletes. Whoever refers to something first writes down that
 *   he does and then looks for attempts: one of the two sees the other.
 */
export interface Candidacy {
  readonly isKept: boolean;
  /** When the mark was written, in ms; undefined without one. */
  readonly sinceMs: number | undefined;
  readonly nowMs: number;
  /** How long it has to be a candidate. */
  readonly waitMs: number;
}

export type NextStep =
  | { readonly do: "nothing" }
  | { readonly do: "clear" }
  | { readonly do: "mark" }
  | { readonly do: "wait"; readonly untilMs: number }
  | { readonly do: "condemn" };

export function nextStep({ isKept, sinceMs, nowMs, waitMs }: Candidacy): NextStep {
  if (isKept) return { do: sinceMs === undefined ? "nothing" : "clear" };
  if (sinceMs === undefined) return { do: "mark" };
  const untilMs = sinceMs + waitMs;
  return nowMs < untilMs ? { do: "wait", untilMs } : { do: "condemn" };
}
