import { randomBytes } from "node:crypto";
import { access, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { silentLogger } from "#libs/logger";
import { importVmImage, MemoryRegistry } from "#libs/oci";
import { serveMetrics } from "#libs/telemetry";
import { temporaryFolder } from "#libs/testing";
import { observeCache } from "./cache-metrics.ts";
import { ImageCache, type ImageCacheDeps } from "./image-cache.ts";

const MIB = 2 ** 20;
const quiet = { signal: new AbortController().signal, progress: () => undefined };

/** A cache over a registry with images of 2 MiB each, in a host whose workloads stand on `inUse`. */
async function cacheIn(folder: string, imageCount: number, change: Partial<ImageCacheDeps> = {}) {
  const registry = new MemoryRegistry();
  const images: string[] = [];
  for (let index = 0; index < imageCount; index += 1) {
    const file = join(folder, `${index}.raw`);
    await writeFile(file, randomBytes(2 * MIB));
    images.push(`guest@${(await importVmImage({ registry, reference: `guest:v${index}`, file })).digest}`);
  }
  const inUse = new Set<string>();
  let uses = 0;
  const deps: ImageCacheDeps = {
    ...{ folder: join(folder, "images"), registry, maxBytes: 5 * MIB, logger: silentLogger },
    inUse: () => inUse,
    freeBytes: async () => 2 ** 40,
    // Each use is a second later than the one before.
    clock: {
      ...systemClock,
      now: () => {
        uses += 1;
        return new Date(1000 * uses);
      },
    },
    ...change,
  };
  const cache = await ImageCache.open(deps);
  const here = async () => {
    const names = await readdir(deps.folder);
    return images.map((image) => names.includes(nameOf(image)));
  };
  return { cache, registry, images, inUse, here, deps };
}

const digestOf = (image: string) => image.slice("guest@".length);
const nameOf = (image: string) => digestOf(image).replace(":", "-");
const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

test("the least recently used image that nobody uses goes when there are too many bytes", async () => {
  await using folder = temporaryFolder();
  const { cache, registry, images, inUse, here } = await cacheIn(folder.path, 4);
  const [a = "", b = "", c = "", d = ""] = images;
  (await cache.pull(a, quiet))[Symbol.dispose]();
  (await cache.pull(b, quiet))[Symbol.dispose]();
  expect(await here()).toEqual([true, true, false, false]);
  expect(cache.bytes).toBeGreaterThan(4 * MIB);
  const reads = registry.counts.readBlob;
  // Used again, without a byte from the registry: b is older now.
  (await cache.pull(a, quiet))[Symbol.dispose]();
  expect(registry.counts.readBlob).toBe(reads);
  (await cache.pull(c, quiet))[Symbol.dispose]();
  expect(await here()).toEqual([true, false, true, false]);
  // What workloads stand on, and what is held, stays, however much that is.
  inUse.add(digestOf(a));
  const held = await cache.pull(c, quiet);
  (await cache.pull(d, quiet))[Symbol.dispose]();
  expect(await here()).toEqual([true, false, true, true]);
  held[Symbol.dispose]();
  inUse.delete(digestOf(a));
  await cache.release([a]);
  // a was used last until its workload went.
  expect(await here()).toEqual([true, false, false, true]);
  expect(cache.bytes).toBeLessThan(5 * MIB);
});

test("room is made on a disk that is nearly full, and a pull that finds none is refused before it begins", async () => {
  await using folder = temporaryFolder();
  let freeBytes = 2 ** 40;
  const { cache, images, inUse, here, deps } = await cacheIn(folder.path, 3, {
    freeBytes: async () => freeBytes,
    maxBytes: 2 ** 40,
  });
  const [a = "", b = "", c = ""] = images;
  for (const image of [a, b]) (await cache.pull(image, quiet))[Symbol.dispose]();
  inUse.add(digestOf(a));
  freeBytes = 64 * MIB;
  await expect(cache.pull(c, quiet)).rejects.toMatchObject({ reason: "SPACE_INSUFFICIENT" });
  expect(await here()).toEqual([true, false, false]);
  expect((await readdir(deps.folder)).toSorted()).toEqual([nameOf(a)]);
});

test("what unfinished pulls brought is evicted too, and nothing where a workload could not be read", async () => {
  await using folder = temporaryFolder();
  const known = { areAll: false };
  const { cache, images, here, deps } = await cacheIn(folder.path, 2, {
    maxBytes: 0,
    inUse: () => (known.areAll ? new Set() : undefined),
  });
  const [a = "", b = ""] = images;
  (await cache.pull(a, quiet))[Symbol.dispose]();
  const part = join(deps.folder, `${nameOf(b)}.part`);
  await mkdir(part);
  await writeFile(join(part, "disk.raw"), randomBytes(MIB));
  await cache.release([]);
  expect([await here(), await isThere(part)]).toEqual([[true, false], true]);
  known.areAll = true;
  // As an agent that starts again.
  await ImageCache.open(deps);
  expect(await readdir(deps.folder)).toEqual([]);
});

test("an image that a VM is being made of is never evicted, whenever the eviction comes", async () => {
  await using folder = temporaryFolder();
  const vms: string[] = [];
  const { cache, registry, images } = await cacheIn(folder.path, 2, { maxBytes: 0, inUse: () => new Set(vms) });
  const pause = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
  /** As `createVm` does: the base is there from the pull on, and from then on because the manifest names it. */
  const makeVm = async (image: string) => {
    await pause();
    const held = await cache.pull(image, quiet);
    await pause();
    vms.push(digestOf(image));
    held[Symbol.dispose]();
    await pause();
    expect((await readFile(held.disk)).length).toBe(2 * MIB);
    vms.splice(vms.indexOf(digestOf(image)), 1);
    await cache.release([image]);
  };
  for (let round = 0; round < 12; round += 1) {
    const made = [0, 1, 0, 1].map((index) => makeVm(images[index] ?? ""));
    await Promise.all([...made, pause().then(() => cache.release([]))]);
  }
  // Evicted when the last VM went, and pulled again.
  expect(await readdir(join(folder.path, "images"))).toEqual([]);
  expect(registry.counts.readBlob).toBeGreaterThan(3 * 2 * 2);
});

test("an image that is wanted when its eviction has just begun is pulled again", async () => {
  await using folder = temporaryFolder();
  let onLook = () => undefined as unknown;
  const { cache, images } = await cacheIn(folder.path, 1, {
    maxBytes: 0,
    inUse: () => {
      // After the look the removal begins at once.
      queueMicrotask(onLook);
      return new Set();
    },
  });
  const [image = ""] = images;
  for (let round = 0; round < 20; round += 1) {
    (await cache.pull(image, quiet))[Symbol.dispose]();
    const wanted = Promise.withResolvers<{ readonly disk: string } & Disposable>();
    onLook = () => {
      onLook = () => undefined;
      cache.pull(image, quiet).then(wanted.resolve, wanted.reject);
    };
    await cache.release([image]);
    using held = await wanted.promise;
    expect((await readFile(held.disk)).length).toBe(2 * MIB);
  }
});

test("what the cache holds, and how often it helped, are metrics", async () => {
  await using folder = temporaryFolder();
  const lifecycle = new Lifecycle();
  const address = await serveMetrics({ METRICS_ADDRESS: "127.0.0.1:0" }, lifecycle);
  const read = async () => {
    const text = await (await fetch(`http://${address}/metrics`)).text();
    const countOf = (name: string) => Number(new RegExp(`^stillpoint_image_cache_${name} (.+)$`, "m").exec(text)?.[1]);
    return ["hits_total", "misses_total", "evictions_total", "size_bytes"].map(countOf);
  };
  const { cache, images } = await cacheIn(folder.path, 2, { maxBytes: 3 * MIB });
  lifecycle.add("metrics of the cache", observeCache(cache), (forget) => forget());
  const [hits = 0, misses = 0, evictions = 0] = await read();
  const [a = "", b = ""] = images;
  for (const image of [a, a, b]) (await cache.pull(image, quiet))[Symbol.dispose]();
  expect(await read()).toEqual([hits + 1, misses + 2, evictions + 1, cache.bytes]);
  expect(cache.bytes).toBeGreaterThan(2 * MIB);
  await lifecycle.close();
});

test("only an image that is named by its digest can be held", async () => {
  await using folder = temporaryFolder();
  const { cache } = await cacheIn(folder.path, 1);
  await expect(cache.pull("guest:v0", quiet)).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
});
