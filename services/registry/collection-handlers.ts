import type {
  CollectionServiceImplementation,
  CollectionStep,
  CollectProgress,
  Holding,
  PlannedItem,
} from "#contracts/registry/v1/collection";
import type { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { isDigest, isRepository, parseReference } from "#libs/oci";
import { pageSize } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { Collector } from "./collect/collector.ts";
import { type Explanation, explainKept } from "./collect/explain.ts";
import { inGroups } from "./collect/repository-reader.ts";
import { planSweep, type SweepDeps } from "./collect/sweep-repository.ts";
import type { NextStep } from "./domain/candidate.ts";
import type { ImageIndex } from "./index/image-index.ts";

export interface CollectionHandlersDeps extends SweepDeps {
  readonly collector: Collector;
  readonly index: ImageIndex;
  readonly authorise: typeof authorise;
}

const everything = "repositories/";

/** The Collection service. */
export function collectionHandlers(deps: CollectionHandlersDeps): CollectionServiceImplementation<CallScope> {
  return {
    async planCollection({ repository, pageSize: wanted, pageToken }, { principal }) {
      deps.authorise(principal, "list", everything);
      const page = await pageOfRepositories(deps, { repository, limit: pageSize(wanted, 100), after: pageToken });
      const items: PlannedItem[] = [];
      for (const name of page.repositories) items.push(...(await planRepository(deps, name)));
      return { items, nextPageToken: page.next };
    },
    async *collect({ repository }, { principal, signal }) {
      deps.authorise(principal, "delete", everything);
      for (let after = ""; ; ) {
        const page = await pageOfRepositories(deps, { repository, limit: 100, after });
        for (const name of page.repositories) {
          signal.throwIfAborted();
          yield* collectRepository(deps, name);
        }
        after = page.next;
        if (after === "") break;
      }
      const reclaimed = await deps.collector.content();
      const reclaimedBytes = reclaimed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      yield { repository: "", removedManifests: 0, removedBlobs: 0, reclaimedBytes };
    },
    async explainKept({ reference }, { principal }) {
      deps.authorise(principal, "get", everything);
      return { holdings: await explain(deps, reference) };
    },
    async getUsage({ pageSize: wanted, pageToken }, { principal }) {
      deps.authorise(principal, "list", everything);
      const limit = pageSize(wanted, 100);
      await deps.index.settled();
      const repositories = deps.index.usage(pageToken === "" ? undefined : pageToken, limit);
      const nextPageToken = repositories.length < limit ? "" : (repositories.at(-1)?.repository ?? "");
      return { repositories, nextPageToken };
    },
  };
}

interface PageQuery {
  /** Empty for all. */
  readonly repository: string;
  readonly limit: number;
  readonly after: string;
}

async function pageOfRepositories({ repositories }: SweepDeps, { repository, limit, after }: PageQuery) {
  if (repository !== "") {
    if (!isRepository(repository)) throw new StillpointError("NAME_INVALID", `"${repository}" is not a repository`);
    return { repositories: [repository], next: "" };
  }
  const page = await repositories.known({ after: after === "" ? undefined : after, limit });
  return { repositories: page, next: page.length < limit ? "" : (page.at(-1) ?? "") };
}

async function planRepository(deps: SweepDeps, repository: string): Promise<PlannedItem[]> {
  const items: PlannedItem[] = [];
  const planned = [...(await planSweep(deps, repository))].filter(([, { do: step }]) => !isKept(step));
  await inGroups(planned, async ([digest, step]) => {
    const held = await linkOf(deps, repository, digest);
    if (held !== undefined) items.push({ repository, digest, ...held, ...showStep(step) });
  });
  return items.sort((a, b) => (a.digest < b.digest ? -1 : 1));
}

const isKept = (step: NextStep["do"]): boolean => step === "nothing" || step === "clear";

async function linkOf({ repositories }: SweepDeps, repository: string, digest: string) {
  const manifest = await repositories.link(repository, "_manifests", digest);
  const link = manifest ?? (await repositories.link(repository, "_blobs", digest));
  return link && { isManifest: manifest !== undefined, sizeBytes: link.sizeBytes };
}

async function* collectRepository(
  { collector }: CollectionHandlersDeps,
  repository: string,
): AsyncGenerator<CollectProgress> {
  const { removed } = await collector.repository(repository);
  if (removed.length === 0) return;
  const removedManifests = removed.filter(({ isManifest }) => isManifest).length;
  yield { repository, removedManifests, removedBlobs: removed.length - removedManifests, reclaimedBytes: 0 };
}

async function explain(deps: SweepDeps, reference: string): Promise<Holding[]> {
  const { repositories } = deps;
  if (isDigest(reference)) {
    const holdings: Holding[] = [];
    await inGroups(await repositories.known(), async (repository) => {
      holdings.push(...(await explainIn(deps, repository, reference)));
    });
    return holdings.length > 0 ? holdings : notFound(reference);
  }
  const { repository, tag = "", digest } = parseReference(reference);
  const wanted = digest ?? (await repositories.tag(repository, tag))?.digest ?? notFound(reference);
  const holdings = await explainIn(deps, repository, wanted);
  return holdings.length > 0 ? holdings : notFound(reference);
}

async function explainIn(deps: SweepDeps, repository: string, digest: string): Promise<Holding[]> {
  const held = await linkOf(deps, repository, digest);
  if (held === undefined) return [];
  const { step, reasons, isForNow } = await explainKept(deps, repository, digest);
  return [{ repository, digest, sizeBytes: held.sizeBytes, reasons: [...reasons], isForNow, ...showStep(step) }];
}

const steps: Readonly<Record<Explanation["step"]["do"], CollectionStep>> = {
  keep: "COLLECTION_STEP_KEEP",
  nothing: "COLLECTION_STEP_KEEP",
  clear: "COLLECTION_STEP_KEEP",
  mark: "COLLECTION_STEP_MARK",
  wait: "COLLECTION_STEP_WAIT",
  condemn: "COLLECTION_STEP_DELETE",
};

function showStep(step: Explanation["step"]): { step: CollectionStep; untilTime: Date | undefined } {
  return { step: steps[step.do], untilTime: step.do === "wait" ? new Date(step.untilMs) : undefined };
}

function notFound(reference: string): never {
  throw new StillpointError("IMAGE_NOT_FOUND", `there is nothing like ${reference}`);
}
