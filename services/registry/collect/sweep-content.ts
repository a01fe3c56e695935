import type { ContentStore } from "../store/content-store.ts";
import type { LinkKind } from "../store/keys.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import type { Candidates } from "./candidates.ts";
import type { Intents } from "./intents.ts";
import { inGroups } from "./repository-reader.ts";

export interface ContentSweepDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly candidates: Candidates;
  readonly intents: Intents;
  /** Repositories are asked for each of so many digests at most, and listed for more; 16 if unsaid. */
  readonly askedAtMost?: number;
}

export interface Reclaimed {
  readonly digest: string;
  readonly sizeBytes: number;
}

const BATCH = 500;

/** Deletes the content that no repository has any more. It has waited in its repositories, so it does not wait here. */
export async function sweepContent(deps: ContentSweepDeps): Promise<Reclaimed[]> {
  const marked = await deps.candidates.all("");
  const needed = await neededOf(deps, marked);
  await deps.candidates.clear("", [...needed]);
  const unneeded = [...marked].filter((digest) => !needed.has(digest));
  const reclaimed: Reclaimed[] = [];
  for (let start = 0; start < unneeded.length; start += BATCH) {
    reclaimed.push(...(await remove(deps, unneeded.slice(start, start + BATCH))));
  }
  return reclaimed;
}

async function remove(deps: ContentSweepDeps, digests: readonly string[]): Promise<Reclaimed[]> {
  const { content, candidates, intents } = deps;
  await using intent = await intents.declare("deleting", { repository: "", digests });
  const needed = await neededOf(deps, new Set(digests));
  const condemned = digests.filter((digest) => !needed.has(digest));
  const sizes = new Map<string, number>();
  await inGroups(condemned, async (digest) => {
    sizes.set(digest, (await content.size(digest)) ?? 0);
  });
  intent.assertInTime();
  await content.remove(condemned);
  await candidates.clear("", digests);
  return condemned.map((digest) => ({ digest, sizeBytes: sizes.get(digest) ?? 0 }));
}

/** Those that a push is about to refer to, or that a repository has. Pushes are read first, as they end with a link. */
async function neededOf(deps: ContentSweepDeps, digests: ReadonlySet<string>): Promise<Set<string>> {
  const { repositories, intents } = deps;
  const needed = new Set<string>();
  if (digests.size === 0) return needed;
  const see = (found: readonly string[]) => {
    for (const digest of found) if (digests.has(digest)) needed.add(digest);
  };
  for (const claim of await intents.live("pushing")) see(claim.digests);
  await inGroups(await repositories.known(), async (repository) => {
    const open = [...digests].filter((digest) => !needed.has(digest));
    for (const kind of ["_blobs", "_manifests"] as const) see(await heldAs(deps, { repository, kind, digests: open }));
  });
  return needed;
}

/** Those of these that a repository has, and maybe others; for few, that costs nothing for all the others. */
async function heldAs(
  { repositories, askedAtMost = 16 }: ContentSweepDeps,
  { repository, kind, digests }: { repository: string; kind: LinkKind; digests: readonly string[] },
): Promise<readonly string[]> {
  if (digests.length > askedAtMost) return await repositories.digests(repository, kind);
  const held: string[] = [];
  for (const digest of digests) {
    if ((await repositories.link(repository, kind, digest)) !== undefined) held.push(digest);
  }
  return held;
}
