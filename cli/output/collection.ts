import type {
  CollectionStep,
  CollectProgress,
  Holding,
  PlannedItem,
  RepositoryUsage,
} from "#contracts/registry/v1/collection";
import { renderFields, renderTable } from "./table.ts";
import { showBytes, showTime } from "./units.ts";

export function showPlan(items: readonly PlannedItem[], now: Date): string {
  if (items.length === 0) return "Everything is needed.";
  const rows = items.map(({ repository, digest, isManifest, sizeBytes, ...item }) => [
    repository,
    short(digest),
    isManifest ? "manifest" : "blob",
    showBytes(sizeBytes),
    showStep(item, now),
  ]);
  const bytes = new Map(items.map(({ digest, sizeBytes }) => [digest, sizeBytes]));
  const sum = [...bytes.values()].reduce((all, each) => all + each, 0);
  const end = `${bytes.size} things of ${showBytes(sum)}; what other repositories need of it stays.`;
  return `${renderTable(["REPOSITORY", "DIGEST", "KIND", "SIZE", "GOES"], rows)}${end}`;
}

export function showProgress({ repository, removedManifests, removedBlobs, reclaimedBytes }: CollectProgress): string {
  if (repository === "") return `${showBytes(reclaimedBytes)} are free again.`;
  return `${repository}: ${removedManifests} manifests and ${removedBlobs} blobs are gone.`;
}

export function showHoldings(holdings: readonly Holding[], now: Date): string {
  return holdings
    .map(({ repository, digest, sizeBytes, reasons, isForNow, ...item }) =>
      renderFields([
        ["Repository", repository],
        ["Digest", digest],
        ["Size", showBytes(sizeBytes)],
        ["Goes", showStep(item, now)],
        ["Kept as", reasons.join("\n")],
        ["Note", isForNow ? "what holds it has no tag, and goes some day" : undefined],
      ]),
    )
    .join("\n");
}

export function showUsage(repositories: readonly RepositoryUsage[]): string {
  if (repositories.length === 0) return "No repositories.";
  const rows = repositories.map(({ repository, tags, manifests, sizeBytes, sharedBytes }) => [
    repository,
    `${tags}`,
    `${manifests}`,
    showBytes(sizeBytes),
    showBytes(sharedBytes),
  ]);
  return renderTable(["REPOSITORY", "TAGS", "MANIFESTS", "SIZE", "SHARED"], rows);
}

const short = (digest: string): string => digest.slice(0, digest.indexOf(":") + 13);

const words: Readonly<Partial<Record<CollectionStep, string>>> = {
  COLLECTION_STEP_KEEP: "never",
  COLLECTION_STEP_MARK: "its wait begins with the next look",
  COLLECTION_STEP_DELETE: "with the next look",
};

function showStep({ step, untilTime }: { step: CollectionStep; untilTime?: Date | undefined }, now: Date): string {
  if (untilTime === undefined) return words[step] ?? step;
  return untilTime < now ? "with the next look" : (showTime(untilTime) ?? "");
}
