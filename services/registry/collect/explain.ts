import { type NextStep, nextStep } from "../domain/candidate.ts";
import { type Kept, reachable } from "../domain/reachability.ts";
import type { Candidates } from "./candidates.ts";
import { type SweepDeps, waitFor } from "./sweep-repository.ts";

export interface Explanation {
  readonly step: NextStep | { readonly do: "keep" };
  /** From the thing itself up to what is kept for its own sake. */
  readonly reasons: readonly string[];
  /** Only an untagged manifest holds it, which retention takes away some day. */
  readonly isForNow: boolean;
}

/** Why a repository keeps what it has, or when it goes. */
export async function explainKept(
  deps: SweepDeps & { readonly candidates: Candidates },
  repository: string,
  digest: string,
): Promise<Explanation> {
  const state = await deps.reader.read(repository);
  const kept = reachable(state);
  const reason = kept.get(digest);
  const sinceMs = await deps.candidates.since(repository, digest);
  const waitMs = waitFor(deps, state, digest);
  const step =
    reason === undefined
      ? nextStep({ isKept: false, sinceMs, nowMs: deps.clock.now().getTime(), waitMs })
      : { do: "keep" as const };
  return { step, reasons: chainOf(kept, digest), isForNow: reason?.isLasting === false };
}

const words = {
  tag: "tag",
  push: "a push that is under way",
  child: "child of",
  referrer: "refers to",
  lineage: "lineage of",
  blob: "blob of",
} as const;

function chainOf(kept: Kept, digest: string): string[] {
  const chain: string[] = [];
  const seen = new Set<string>();
  for (let at = digest; !seen.has(at); ) {
    seen.add(at);
    const reason = kept.get(at);
    if (reason === undefined) break;
    chain.push(`${words[reason.kind]} ${reason.by}`.trim());
    if (reason.kind === "tag" || reason.kind === "push") break;
    at = reason.by;
  }
  return chain;
}
