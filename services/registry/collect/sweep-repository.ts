import type { Clock } from "#libs/clock";
import { type NextStep, nextStep } from "../domain/candidate.ts";
import { type RepositoryState, reachable } from "../domain/reachability.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import type { Candidates } from "./candidates.ts";
import type { Intents } from "./intents.ts";
import { inGroups, type RepositoryReader } from "./repository-reader.ts";

export interface SweepDeps {
  readonly repositories: RepositoryStore;
  readonly reader: RepositoryReader;
  readonly candidates: Candidates;
  readonly intents: Intents;
  readonly clock: Clock;
  /** How long nothing may have referred to a blob before it is deleted. */
  readonly graceMs: number;
  /** The same for a manifest without tags. */
  readonly untaggedMs: number;
}

export interface Removed {
  readonly digest: string;
  readonly isManifest: boolean;
}

export interface RepositorySweep {
  readonly removed: readonly Removed[];
  /** When there is more to do, in ms of the wall clock; undefined when nothing waits. */
  readonly nextMs: number | undefined;
  /** Of what nothing refers to and is still there. */
  readonly waitingBytes: number;
}

/** How many are deleted in one attempt, which must be over in 20 seconds. */
const BATCH = 500;

/** Takes one step with everything that a repository holds: marks, waits, or deletes from the repository. */
export async function sweepRepository(deps: SweepDeps, repository: string): Promise<RepositorySweep> {
  const steps = await planSweep(deps, repository);
  const toMark = digestsTo(steps, "mark");
  await inGroups(toMark, (digest) => deps.candidates.mark(repository, digest));
  await deps.candidates.clear(repository, digestsTo(steps, "clear"));
  const condemned = digestsTo(steps, "condemn");
  const removed: Removed[] = [];
  for (let start = 0; start < condemned.length; start += BATCH) {
    removed.push(...(await remove(deps, repository, condemned.slice(start, start + BATCH))));
  }
  const now = deps.clock.now().getTime();
  const waits = [...steps.values()].flatMap((step) => (step.do === "wait" ? [step.untilMs] : []));
  // What an untagged manifest held has a wait of its own once that is gone.
  const again = toMark.length > 0 || removed.some(({ isManifest }) => isManifest) ? [now + deps.graceMs] : [];
  const next = Math.min(...waits, ...again);
  const waiting = [...toMark, ...digestsTo(steps, "wait")];
  const waitingBytes = await bytesOf(deps, repository, waiting);
  return { removed, nextMs: Number.isFinite(next) ? next : undefined, waitingBytes };
}

async function bytesOf({ repositories }: SweepDeps, repository: string, digests: readonly string[]): Promise<number> {
  let bytes = 0;
  await inGroups(digests, async (digest) => {
    const link =
      (await repositories.link(repository, "_manifests", digest)) ??
      (await repositories.link(repository, "_blobs", digest));
    bytes += link?.sizeBytes ?? 0;
  });
  return bytes;
}

/** What a sweep would do now. */
export async function planSweep(deps: SweepDeps, repository: string): Promise<Map<string, NextStep>> {
  const state = await deps.reader.read(repository);
  const kept = reachable(state);
  const held = new Set([...state.manifests.keys(), ...(await deps.repositories.digests(repository, "_blobs"))]);
  const marked = await deps.candidates.all(repository);
  const steps = new Map<string, NextStep>();
  await inGroups([...new Set([...held, ...marked])], async (digest) => {
    const sinceMs = marked.has(digest) ? await deps.candidates.since(repository, digest) : undefined;
    const isKept = kept.has(digest) || !held.has(digest);
    const waitMs = waitFor(deps, state, digest);
    steps.set(digest, nextStep({ isKept, sinceMs, nowMs: deps.clock.now().getTime(), waitMs }));
  });
  return steps;
}

export function waitFor({ graceMs, untaggedMs }: SweepDeps, { manifests }: RepositoryState, digest: string): number {
  return manifests.has(digest) ? Math.max(graceMs, untaggedMs) : graceMs;
}

function digestsTo(steps: ReadonlyMap<string, NextStep>, what: NextStep["do"]): string[] {
  return [...steps].filter(([, step]) => step.do === what).map(([digest]) => digest);
}

/** Says what it is about to delete, looks again, and deletes what is still nobody's and still has its mark. */
async function remove(deps: SweepDeps, repository: string, digests: readonly string[]): Promise<Removed[]> {
  const { repositories, candidates, reader, intents } = deps;
  await using intent = await intents.declare("deleting", { repository, digests });
  const state = await reader.read(repository);
  const kept = reachable(state);
  const now = deps.clock.now().getTime();
  const condemned: string[] = [];
  await inGroups(digests, async (digest) => {
    const sinceMs = await candidates.since(repository, digest);
    const step = nextStep({ isKept: kept.has(digest), sinceMs, nowMs: now, waitMs: waitFor(deps, state, digest) });
    if (step.do === "condemn") condemned.push(digest);
  });
  const manifests = condemned.filter((digest) => state.manifests.has(digest));
  for (const digest of manifests) {
    intent.assertInTime();
    await repositories.removeManifest(repository, digest, state.manifests.get(digest)?.subject);
  }
  intent.assertInTime();
  await repositories.removeBlobs(repository, condemned);
  await inGroups(condemned, (digest) => candidates.mark("", digest));
  await candidates.clear(repository, condemned);
  return condemned.map((digest) => ({ digest, isManifest: state.manifests.has(digest) }));
}
