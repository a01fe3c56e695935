import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Clock, Random } from "#libs/clock";
import { digestOf, mediaTypes } from "#libs/oci";
import { readManifest } from "../domain/manifest-facts.ts";
import { keys } from "../store/keys.ts";
import { openStore, type RegistryStore } from "../store/open-store.ts";
import { MemoryObjects } from "../testing/memory-objects.ts";
import { sweepContent } from "./sweep-content.ts";
import { sweepRepository } from "./sweep-repository.ts";

/*
 * The real code of pushes and collection over objects in memory. Each look at the objects and each change waits for its
 * turn, which fast-check gives in any order; processes die between any two. Nothing waits out a grace period: a
 * candidate may be deleted at once.
 */

const blobs = [0, 1].map((n) => Buffer.from(`blob ${n}`));
const repositories = ["a", "b/c"];
const neverClosed = { uploads: undefined };

/** Three manifests: of the first blob, of both, and an index of the first manifest. */
const manifests = (() => {
  const layer = (blob: Buffer) => ({ mediaType: "x/y", digest: digestOf(blob), size: blob.length });
  const encode = (body: object) => Buffer.from(JSON.stringify({ schemaVersion: 2, ...body }));
  const image = (...parts: Buffer[]) => encode({ mediaType: mediaTypes.manifest, layers: parts.map(layer) });
  const [one = Buffer.alloc(0), two = Buffer.alloc(0)] = blobs;
  const first = image(one);
  const child = { mediaType: mediaTypes.manifest, digest: digestOf(first), size: first.length };
  return [first, image(one, two), encode({ mediaType: mediaTypes.index, manifests: [child] })];
})();

interface Deed {
  readonly what: "push" | "mount" | "untag" | "remove" | "collect";
  readonly repository: string;
  readonly manifest: number;
  /** After how many turns its process dies; a large number is never. */
  readonly diesAfter: number;
}

class Died extends Error {}

class World {
  readonly objects = new Map<string, Buffer>();
  /** What was answered 201 and not asked to go away since. */
  readonly promised = new Map<string, number>();
  #scheduler: fc.Scheduler;
  readonly #dead = new Set<string>();
  #removals = 0;
  #removing = 0;
  #ids = 0;
  #now = 0;

  constructor(scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Everything is there, nothing is referred to, and may be deleted at once. */
  static async withCandidates(scheduler: fc.Scheduler): Promise<World> {
    const world = new World({ schedule: async (it: unknown) => it } as never);
    const { store } = world.process(1e9);
    for (const repository of repositories) {
      for (const blob of blobs) await pushBlob(store, repository, blob);
      await push(store, repository, 0);
    }
    await collect(store);
    world.#scheduler = scheduler;
    return world;
  }

  /** A process with a store of its own over the same objects. */
  process(diesAfter: number): { store: RegistryStore; dies: Promise<never>; own: Set<string> } {
    const { promise: dies, reject } = Promise.withResolvers<never>();
    dies.catch(() => {});
    const own = new Set<string>();
    let turns = 0;
    const turn = async (what: string) => {
      await this.#scheduler.schedule(Promise.resolve(), what);
      if (turns++ < diesAfter) return;
      for (const key of own) this.#dead.add(key);
      reject(new Died());
      await new Promise(() => {});
    };
    const clock: Clock = {
      now: () => new Date(++this.#now),
      monotonicMs: () => 0,
      sleep: () => turn("sleep"),
    };
    const random: Random = { id: (prefix) => `${prefix}-${++this.#ids}`, next: () => 0 };
    const objects = new MemoryObjects(this.objects, turn);
    const put = objects.put.bind(objects);
    objects.put = async (key, bytes) => {
      if (key.startsWith("collect/pushing") || key.startsWith("collect/deleting")) own.add(key);
      await put(key, bytes);
    };
    // Only what is dead is taken for dead; how that is known is the silence's business.
    const obituary = { dead: (_kind: unknown, all: readonly string[]) => all.filter((key) => this.#dead.has(key)) };
    const store = openStore({
      ...{ objects, clock, random, obituary, graceMs: 0, maxBlobBytes: 1e6 },
      sessions: neverClosed as never,
    });
    return { store, dies, own };
  }

  async act(deed: Deed): Promise<void> {
    const { store, dies } = this.process(deed.diesAfter);
    const isRemoval = deed.what === "untag" || deed.what === "remove";
    if (isRemoval) [this.#removals, this.#removing] = [this.#removals + 1, this.#removing + 1];
    await Promise.race([this.#do(store, deed), dies]).catch((error: unknown) => {
      if (!(error instanceof Error) || !/Died|lacks/.test(`${error.constructor.name} ${error.message}`)) throw error;
    });
    if (isRemoval) this.#removing -= 1;
  }

  async #do(store: RegistryStore, { what, repository, manifest }: Deed): Promise<void> {
    if (what === "collect") await collect(store);
    else if (what === "mount") await mount(store, repository);
    else if (what === "push") await this.#push(store, repository, manifest);
    else await this.#remove(store, { what, repository, manifest });
  }

  async #push(store: RegistryStore, repository: string, manifest: number): Promise<void> {
    const before = this.#removals;
    const isAlone = this.#removing === 0;
    await push(store, repository, manifest, `t${manifest}`);
    // Of a push and a removal at the same time nobody knows which was last.
    if (isAlone && this.#removals === before) this.promised.set(`${repository} t${manifest}`, manifest);
  }

  async #remove({ repositories: stored }: RegistryStore, { what, repository, manifest }: Omit<Deed, "diesAfter">) {
    // An index that lists it is broken by whoever removes it.
    for (const other of what === "untag" ? [manifest] : [manifest, 2]) this.promised.delete(`${repository} t${other}`);
    if (what === "untag") await stored.removeTag(repository, `t${manifest}`);
    else await stored.removeManifest(repository, digestOf(manifests[manifest] ?? Buffer.alloc(0)), undefined);
  }

  /** What a promise needs and is not there. */
  broken(): string[] {
    const needed = [...this.promised].flatMap(([name, manifest]) => {
      const [repository = "", tag = ""] = name.split(" ");
      return [keys.tag(repository, tag), ...needs(repository, manifest)];
    });
    return needed.filter((key) => !this.objects.has(key));
  }
}

function needs(repository: string, manifest: number): string[] {
  const bytes = manifests[manifest] ?? Buffer.alloc(0);
  const facts = readManifest(bytes, undefined);
  const digest = digestOf(bytes);
  return [
    keys.link(repository, "_manifests", digest),
    keys.content(digest),
    ...facts.blobs.flatMap((blob) => [keys.link(repository, "_blobs", blob), keys.content(blob)]),
    ...facts.manifests.flatMap((child) =>
      needs(
        repository,
        manifests.findIndex((it) => digestOf(it) === child),
      ),
    ),
  ];
}

/** As a client does: what the registry says it has is not sent. */
async function push(store: RegistryStore, repository: string, manifest: number, tag?: string): Promise<void> {
  const bytes = manifests[manifest] ?? Buffer.alloc(0);
  const facts = readManifest(bytes, undefined);
  for (const blob of blobs.filter((it) => facts.blobs.includes(digestOf(it)))) await pushBlob(store, repository, blob);
  if (facts.manifests.length > 0) await push(store, repository, 0);
  const digest = digestOf(bytes);
  const tags = tag === undefined ? [] : [tag];
  const stored = { digest, mediaType: facts.mediaType, sizeBytes: bytes.length, tags };
  await store.manifestPushes.push(repository, { bytes, manifest: stored, facts });
}

async function pushBlob(store: RegistryStore, repository: string, blob: Buffer): Promise<void> {
  const digest = digestOf(blob);
  if ((await store.repositories.blob(repository, digest)) !== undefined) return;
  await store.blobLinks.whenFree(repository, digest);
  await store.content.put(blob, digest);
  await store.blobLinks.add(repository, digest, blob.length);
}

async function mount(store: RegistryStore, repository: string): Promise<void> {
  for (const source of repositories.filter((it) => it !== repository)) {
    for (const blob of blobs) {
      const link = await store.repositories.blob(source, digestOf(blob));
      if (link !== undefined) await store.blobLinks.add(repository, digestOf(blob), link.sizeBytes);
    }
  }
}

async function collect(store: RegistryStore): Promise<void> {
  const clock = { now: () => new Date(Number.MAX_SAFE_INTEGER / 2) } as Clock;
  const deps = { ...store, clock, graceMs: 0, untaggedMs: 0, askedAtMost: 2 };
  for (const repository of repositories) await sweepRepository(deps, repository);
  await sweepContent(deps);
}

const deed = fc.record<Deed>({
  what: fc.constantFrom("push", "push", "push", "collect", "collect", "mount", "untag", "remove"),
  repository: fc.constantFrom(...repositories),
  manifest: fc.nat({ max: 2 }),
  diesAfter: fc.oneof({ weight: 3, arbitrary: fc.constant(1e9) }, { weight: 1, arbitrary: fc.nat({ max: 60 }) }),
});

/** Long runs: REGISTRY_PROTOCOL_RUNS=100000. */
const numRuns = Number(process.env.REGISTRY_PROTOCOL_RUNS ?? 100);

test(
  "whatever a manifest refers to that was answered 201 is there, in any order of steps, whoever dies",
  async () => {
    const property = fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.array(deed, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 5 }),
      async (scheduler, actors) => {
        const world = await World.withCandidates(scheduler);
        const all = Promise.all(
          actors.map(async (deeds) => {
            for (const one of deeds) await world.act(one);
          }),
        );
        let isOver = false;
        const over = all.finally(() => {
          isOver = true;
        });
        while (!isOver) {
          if (scheduler.count() > 0) await scheduler.waitOne();
          else await setImmediate();
          expect(world.broken()).toEqual([]);
        }
        await over;
      },
    );
    await fc.assert(property, { numRuns });
  },
  60_000 + 200 * numRuns,
);

test("what nothing refers to is gone in the end", async () => {
  const world = new World({ schedule: async (it: unknown) => it } as never);
  const { store } = world.process(1e9);
  await push(store, "a", 1, "keep");
  await push(store, "a", 2, "lose");
  await push(store, "b/c", 0, "lose");
  for (const repository of repositories) await store.repositories.removeTag(repository, "lose");
  for (let pass = 0; pass < 8; pass++) await collect(store);
  const left = [...world.objects.keys()].filter((key) => !/^(catalog|known|collect\/queue)\/|_tag/.test(key));
  expect(left.sort()).toEqual(needs("a", 1).sort());
});
