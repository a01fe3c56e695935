import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { digestOf, mediaTypes } from "#libs/oci";
import { temporaryFolder } from "#libs/testing";
import { type BenchmarkResult, median } from "./benchmark.ts";
import { type MeasuredRegistry, startDebianRegistry, startOwnRegistry } from "./registries.ts";
import {
  type BlobFile,
  downloadSpeed,
  getsPerSecond,
  headsPerSecond,
  pushImage,
  requireTools,
  stayOnTwoCores,
  uploadSpeed,
} from "./registry-load.ts";

const rounds = 5;
const seconds = 2;
const repository = "bench/image";
const tag = "latest";
const MIB = 2 ** 20;
const largeBytes = 200 * MIB;

type Measure = (registry: MeasuredRegistry, round: number) => Promise<number>;

/**
 * Ours, without logins and with tokens, against Debian's docker-registry, which asks for no login: the same files, clients
 * and two cores, in turns. Each registry is one process, docker-registry with threads on both cores.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await requireTools();
  await stayOnTwoCores();
  await using folder = temporaryFolder();
  await using bare = await startDebianRegistry();
  await using open = await startOwnRegistry("none", repository);
  await using withToken = await startOwnRegistry("token", repository);
  const [small, large, ...fresh] = await makeFiles(folder.path);
  if (small === undefined || large === undefined) throw new Error("no files");
  for (const registry of [bare, open, withToken]) await pushImage(registry, repository, imageOf([small, large]));
  const found = await inRounds([bare, open, withToken], measures({ small, large, fresh }));
  return resultOf(found);
}

/** A blob of 5 KB, one of 200 MiB, and one more of these for each round. */
async function makeFiles(folder: string): Promise<BlobFile[]> {
  const files: BlobFile[] = [];
  for (const [place, bytes] of [5_120, ...Array<number>(rounds + 1).fill(largeBytes)].entries()) {
    const path = join(folder, `${place}`);
    const content = randomBytes(bytes);
    await writeFile(path, content, { flush: true });
    files.push({ path, digest: digestOf(content) });
  }
  return files;
}

const path = (rest: string) => `/v2/${repository}/${rest}`;

/** What is measured, by the name of its metric. */
function measures({ small, large, fresh }: { small: BlobFile; large: BlobFile; fresh: readonly BlobFile[] }) {
  const askingForManifest = (registry: MeasuredRegistry) => ({
    ...registry,
    headers: { ...registry.headers, accept: mediaTypes.manifest },
  });
  return {
    manifest_by_tag_per_second: (registry) =>
      getsPerSecond(askingForManifest(registry), path(`manifests/${tag}`), seconds),
    blob_head_per_second: (registry) => headsPerSecond(registry, path(`blobs/${small.digest}`), seconds),
    blob_5_kb_per_second: (registry) => getsPerSecond(registry, path(`blobs/${small.digest}`), seconds),
    get_200_mib_mib_per_second: async (registry) =>
      (await downloadSpeed(registry, path(`blobs/${large.digest}`))) / MIB,
    put_200_mib_mib_per_second: async (registry, round) => {
      const file = fresh[round] ?? large;
      const speed = await uploadSpeed(registry, repository, file);
      await forget(registry, file);
      return speed / MIB;
    },
  } satisfies Record<string, Measure>;
}

/**
 * Deletes a blob's file behind a registry's back, so that the next blob gets its memory: a virtual machine whose host has
 * to give it more writes several times as slowly, and which of them needs more is chance.
 */
async function forget({ blobs }: MeasuredRegistry, { digest }: BlobFile): Promise<void> {
  const hex = digest.slice("sha256:".length);
  await rm(join(blobs, "sha256", hex.slice(0, 2), hex), { recursive: true });
}

interface Found {
  readonly registry: MeasuredRegistry;
  /** Of each measure, round by round. */
  readonly values: Map<string, number[]>;
}

/** Each round measures everything of all registries, side by side and in another order than the last. */
async function inRounds(registries: readonly MeasuredRegistry[], all: Record<string, Measure>): Promise<Found[]> {
  const found = registries.map((registry) => ({ registry, values: new Map<string, number[]>() }));
  for (let round = 0; round < rounds; round++) {
    for (const [name, measure] of Object.entries(all)) {
      const order = round % 2 === 0 ? found : found.toReversed();
      for (const { registry, values } of order) {
        values.set(name, [...(values.get(name) ?? []), await measure(registry, round)]);
      }
      const told = found.map(({ registry, values }) => `${registry.name} ${values.get(name)?.at(-1)?.toFixed(0)}`);
      console.log(`${name}: ${told.join(", ")}`);
    }
  }
  return found;
}

function resultOf([bare, ...ours]: readonly Found[]): BenchmarkResult {
  const metrics: Record<string, number> = {};
  const baseline: Record<string, number> = {};
  for (const [name, against] of bare?.values ?? []) {
    baseline[name] = median(against);
    for (const [place, { values }] of ours.entries()) {
      const key = place === 0 ? name : `with_token_${name}`;
      const own = values.get(name) ?? [];
      metrics[key] = median(own);
      // Within a round: a busy host slows both.
      const ratio = median(own.map((value, round) => value / (against[round] ?? Number.NaN)));
      metrics[`${key.replace(/_per_second$/, "").replace(/_mib$/, "")}_ratio`] = ratio;
    }
  }
  return { metrics, baseline };
}

function imageOf(files: readonly BlobFile[]) {
  const sizes = [5_120, largeBytes];
  const [config, ...layers] = files.map(({ digest }, place) => ({
    mediaType: "application/octet-stream",
    digest,
    size: sizes[place],
  }));
  const { manifest: mediaType } = mediaTypes;
  return { files, tag, mediaType, manifest: JSON.stringify({ schemaVersion: 2, mediaType, config, layers }) };
}
