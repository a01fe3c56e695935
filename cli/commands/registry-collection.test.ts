import { expect, test } from "vitest";
import { fakeCluster } from "../testing/fake-cluster.ts";

const digest = `sha256:${"ab".repeat(32)}`;
const item = {
  repository: "team/app",
  digest,
  isManifest: false,
  sizeBytes: 2 ** 20,
  step: "COLLECTION_STEP_MARK",
} as const;

test("gc shows what would go, page after page, and what went", async () => {
  await using cluster = await fakeCluster({
    collection: {
      planCollection: async ({ pageToken }) =>
        pageToken === "" ? { items: [item], nextPageToken: "team/app" } : { items: [{ ...item, repository: "z" }] },
      async *collect() {
        yield { repository: "team/app", removedManifests: 1, removedBlobs: 2 };
        yield { reclaimedBytes: 3 * 2 ** 20 };
      },
    },
  });
  const planned = await cluster.run(["registry", "gc", "--dry-run"]);
  expect(planned.out).toMatch(/^REPOSITORY .*\nteam\/app +sha256:abababababab +blob +1 MiB +its wait begins .*\nz /);
  expect(planned.out).toMatch(/\n1 things of 1 MiB; what other repositories need of it stays\.\n$/);
  expect((await cluster.run(["registry", "gc"])).out).toBe(
    "team/app: 1 manifests and 2 blobs are gone.\n3 MiB are free again.\n",
  );
});

test("why shows the way up to the tag; usage what is held", async () => {
  const holding = { ...item, step: "COLLECTION_STEP_KEEP" as const, reasons: [`blob of ${digest}`, "tag v1"] };
  await using cluster = await fakeCluster({
    collection: {
      explainKept: async () => ({ holdings: [holding] }),
      getUsage: async () => ({
        repositories: [{ repository: "team/app", tags: 1, manifests: 2, sizeBytes: 2 ** 30, sharedBytes: 2 ** 20 }],
      }),
    },
  });
  const why = await cluster.run(["registry", "why", digest]);
  expect(why.out).toMatch(
    /^Repository: +team\/app\n(?:.*\n)*Goes: +never\nKept as: +blob of sha256:[0-9a-f]{64}\n +tag v1\n$/,
  );
  const usage = await cluster.run(["registry", "usage"]);
  expect(usage.out).toMatch(/^REPOSITORY +TAGS .*\nteam\/app +1 +2 +1 GiB +1 MiB\n$/);
});
