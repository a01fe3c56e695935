import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { bytesSource } from "./blob-source.ts";
import { mediaTypes } from "./manifest.ts";
import { MemoryRegistry } from "./memory-registry.ts";
import { fetchVolume, findRemoteContainer } from "./pull-container.ts";
import { pushContainerCheckpoint } from "./push-container.ts";
import { storeAsOci } from "./pushed-image.ts";
import { alignArchive } from "./volume-archive.ts";

const run = promisify(execFile);
const repository = "checkpoints/db";
const signal = AbortSignal.timeout(30_000);

async function* tarOf(folder: string): AsyncGenerator<Buffer> {
  const times = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime";
  const args = ["-c", "--format=posix", "--sort=name", times, "-C", folder, "-f", "-", "."];
  const { stdout } = await run("tar", args, { encoding: "buffer", maxBuffer: 2 ** 30 });
  // In pieces of an odd size, as a pipe gives them.
  for (let at = 0; at < stdout.length; at += 65_521) yield stdout.subarray(at, at + 65_521);
}

const noise = (bytes: number, seed: number) => {
  const content = Buffer.alloc(bytes);
  for (let at = 0, word = seed; at + 4 <= bytes; at += 4) {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
    content.writeUInt32LE(word, at);
  }
  return content;
};

/** As an engine pushes it: Docker's own format. */
async function pushImage(registry: MemoryRegistry) {
  const put = async (content: Buffer) => {
    const source = bytesSource(content);
    await registry.putBlob(repository, source);
    return { digest: source.digest, size: source.sizeBytes };
  };
  const facts = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: ["sha256:aa"] } };
  const config = { mediaType: mediaTypes.dockerImageConfig, ...(await put(Buffer.from(JSON.stringify(facts)))) };
  const layers = [{ mediaType: mediaTypes.dockerImageLayer, ...(await put(Buffer.from("layer"))) }];
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, config, layers };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await registry.putManifest(repository, "_image", { mediaType: mediaTypes.dockerManifest, bytes });
  return { ...(await storeAsOci(registry, { repository, tag: "_image" })), sentBytes: 0 };
}

const config = {
  ...{ consistency: "application", kind: "production" as const, uid: "ckpt-1", parent: "", spec: {} },
  ...{ name: "projects/default/containers/db/checkpoints/ckpt-1", displayName: "one" },
  createTime: new Date(0).toISOString(),
};

test("what is pushed is an index that runs as an image, comes back whole, and shares what has not changed", async () => {
  await using folder = temporaryFolder();
  const files = join(folder.path, "files");
  await mkdir(join(files, "many"), { recursive: true });
  for (let i = 0; i < 400; i++) await writeFile(join(files, "many", `${i}`), noise(1_000 + i, i));
  for (let i = 0; i < 8; i++) await writeFile(join(files, `large-${i}`), noise(1_000_000 + 7 * i, 1_000 + i));
  await writeFile(join(files, `${"long".repeat(60)}`), "x");
  await writeFile(join(files, "hole"), "");
  await truncate(join(files, "hole"), 10 * 2 ** 20);
  const registry = new MemoryRegistry();
  const image = await pushImage(registry);
  const push = () =>
    pushContainerCheckpoint({
      ...{ registry, repository, tag: "one", config, image, known: [], receipt: { kind: "production" }, signal },
      volumes: [
        {
          id: "data",
          sizeBytes: 10_000_000,
          open: () => ({ archive: tarOf(files), digest: () => `sha256:${"0".repeat(64)}` }),
        },
      ],
    });
  const first = await push();
  expect(first.sentBytes).toBeGreaterThan(8_000_000);
  expect(await push()).toMatchObject({ sentBytes: 0, sentChunks: 0, descriptor: first.descriptor });

  const top = JSON.parse((await registry.getManifest(repository, "one"))?.bytes.toString() ?? "");
  expect(top.manifests[0]).toMatchObject({
    mediaType: mediaTypes.manifest,
    platform: { architecture: "amd64", os: "linux" },
  });
  expect(top.manifests[1].platform).toEqual({ architecture: "unknown", os: "unknown" });

  // A small file more, one that grows, and a byte in a large one.
  await writeFile(join(files, "many", "0a"), noise(5_000, 7));
  await writeFile(join(files, "many", "200"), noise(9_000, 8));
  const large = noise(1_000_000, 1_000);
  large[500_000] = 1;
  await writeFile(join(files, "large-0"), Buffer.concat([large, noise(1_000, 9)]));
  const second = await push();
  expect(second.sentBytes).toBeLessThan(1_700_000);

  const remote = await findRemoteContainer(registry, `${repository}:one`);
  const [volume] = remote.volumes;
  if (volume === undefined) throw new Error("no volume");
  const path = join(folder.path, "archive");
  await writeFile(path, noise(100_000, 5)); // what an attempt left that was cut off
  await fetchVolume(volume, { registry, repository, path, onBytes: () => undefined, signal });
  const back = join(folder.path, "back");
  await mkdir(back);
  await run("tar", ["-x", "--ignore-zeros", "-C", back, "-f", path]);
  expect((await run("diff", ["-r", files, back])).stdout).toBe("");
  expect(await readdir(back)).toHaveLength(11);
  expect(await readFile(join(back, "many/0a"))).toEqual(noise(5_000, 7));
});

test("what is no archive is refused", async () => {
  const cut = async (bytes: Buffer) => {
    async function* source() {
      yield bytes;
    }
    return await buffer(alignArchive(source(), 65_536));
  };
  await expect(cut(noise(2_048, 1))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  await expect(cut(Buffer.alloc(100))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  expect(await cut(Buffer.alloc(1_024))).toHaveLength(0);
});
