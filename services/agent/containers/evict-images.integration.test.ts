import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { dockerEngine, type TestEngine, temporaryFolder } from "#libs/testing";
import { busyboxImage } from "../../../test/images/build.ts";
import { DockerEngine } from "../docker/docker-engine.ts";
import { ContainerImages } from "./container-images.ts";
import { evictImages } from "./evict-images.ts";
import { PulledImages } from "./pulled-images.ts";

const MINUTE_MS = 60_000;
const repository = `stillpoint-test/${systemRandom.id("evict")}`;
const control = { signal: new AbortController().signal, progress: () => undefined };
let real: TestEngine;
let engine: DockerEngine;
let base: string;

beforeAll(async () => {
  real = await dockerEngine();
  engine = new DockerEngine({ socketPath: real.socketPath, hostData: "host-1" });
  base = await busyboxImage(real);
}, 120_000);

afterAll(async () => {
  await real?.[Symbol.asyncDispose]();
});

/** What a registry has: an image of its own id under each name that is "pulled". */
async function pull(image: string): Promise<void> {
  const made = await real.docker.createContainer({ Image: base, Cmd: ["sleep", "1000"], Labels: { image } });
  const [repo, tag] = image.split(":");
  await made.commit({ repo, tag });
  await made.remove();
}

test("images that this agent pulled go when nobody uses them, the longest unused first; all others stay", async () => {
  await using folder = temporaryFolder();
  await using stack = new AsyncDisposableStack();
  const path = join(folder.path, "images.json");
  const pulled = await PulledImages.open(path);
  let now = Date.now();
  const clock = { ...systemClock, now: () => new Date(now) };
  const images = { ...engine.images, pull };
  const known = new ContainerImages({
    images,
    registryUrl: "http://r:1",
    login: undefined,
    pulled,
    clock,
    freeBytes: async () => 2 ** 40,
  });
  const [named = "", held = "", old = "", older = "", lately = "", theirs = ""] = [
    ...["named", "held", "old", "older", "lately", "theirs"],
  ].map((name) => `${repository}:${name}`);
  const { architecture } = (await engine.images.find(base)) ?? { architecture: "" };
  stack.defer(async () => {
    for (const image of [named, held, old, older, lately, theirs]) await engine.images.remove(image);
  });
  await pull(theirs);
  for (const image of [theirs, named, held, older, old]) {
    now += MINUTE_MS;
    await known.ensure(image, architecture, control);
  }
  const container = await real.docker.createContainer({ Image: held });
  stack.defer(() => container.remove());
  now += 20 * MINUTE_MS;
  await known.ensure(lately, architecture, control);
  const left = async () => {
    const all = [named, held, old, older, lately, theirs];
    const found = await Promise.all(all.map(async (image) => (await engine.images.find(image)) !== undefined));
    return all.filter((_, at) => found[at]).map((image) => image.split(":")[1]);
  };
  const evict = (limitBytes: number, isLow = false) => {
    const isDiskLow = async () => isLow;
    return evictImages({ pulled, images, known, limitBytes, isDiskLow, clock, logger: silentLogger }, new Set([named]));
  };
  const { sizeBytes } = (await engine.images.find(base)) ?? { sizeBytes: 0 };

  await evict(0);
  await evict(5 * sizeBytes);
  expect(await left()).toEqual(["named", "held", "old", "older", "lately", "theirs"]);
  await evict(4 * sizeBytes);
  expect(await left()).toEqual(["named", "held", "old", "lately", "theirs"]);
  now += MINUTE_MS;
  await evict(0, true);
  expect(await left()).toEqual(["named", "held", "lately", "theirs"]);
  now += 20 * MINUTE_MS;
  await evict(1);
  expect(await left()).toEqual(["named", "held", "theirs"]);
  // One that was removed is pulled again, and the next agent knows them all.
  await known.ensure(old, architecture, control);
  expect((await PulledImages.open(path)).unusedSince(now).toSorted()).toEqual([held, named, old].toSorted());
});
