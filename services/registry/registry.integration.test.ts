import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { createRegistryClient, digestOf, importVmImage, mediaTypes, pullVmImage } from "#libs/oci";
import { createRpcClient } from "#libs/rpc";
import { freePort, startRedis, temporaryFolder } from "#libs/testing";
import { pushManifest } from "./http/oci-fixture.ts";
import { startTestRegistry } from "./testing/registry-fixture.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

describe("VM images", () => {
  it("are imported from qcow2, listed, pulled and deleted", async () => {
    await using folder = temporaryFolder();
    await using registry = await startTestRegistry();
    const raw = join(folder.path, "disk.raw");
    const qcow2 = join(folder.path, "disk.qcow2");
    await writeSparse(raw, 32 * MIB, [0, 9 * MIB]);
    await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", "-c", raw, qcow2]);
    const client = createRegistryClient({ address: registry.httpAddress });
    const pushed = await importVmImage({ registry: client, file: qcow2, reference: "guests/web:v1", cmdline: "quiet" });
    expect(pushed).toMatchObject({ chunks: 2, sentChunks: 2, virtualSizeBytes: 32 * MIB });

    const images = createRpcClient(ImagesDefinition, registry.address);
    await pushManifest(registry.url, "containers/app", "v2", { layers: [Buffer.from("layer")] });
    const listed = (await images.listImages({})).images;
    expect(listed.map(({ reference, artifactType }) => [reference, artifactType])).toEqual([
      ["containers/app:v2", mediaTypes.empty],
      ["guests/web:v1", mediaTypes.vmImage],
    ]);
    const image = await images.getImage({ reference: "guests/web:v1" });
    expect(image).toMatchObject({ digest: pushed.digest, virtualSizeBytes: 32 * MIB, tag: "v1" });
    expect(Math.abs((image.pushTime?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);

    const reference = `guests/web@${pushed.digest}`;
    const pulled = await pullVmImage({ registry: client, reference, into: join(folder.path, "images") });
    expect((await readFile(pulled.disk)).equals(await readFile(raw))).toBe(true);

    await images.deleteImage({ reference: "guests/web:v1" });
    await expect(images.getImage({ reference: "guests/web:v1" })).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
    expect(await images.getImage({ reference })).toMatchObject({ digest: pushed.digest });
    await images.deleteImage({ reference });
    await expect(images.getImage({ reference })).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
    await expect(images.getImage({ reference: "No:Such" })).rejects.toMatchObject({ reason: "NAME_INVALID" });
    images.close();
    client.close();
  });
});

describe("a VM image of more chunks than a manifest can list", () => {
  it("is pushed as an index of manifests, and pulled whole", async () => {
    await using folder = temporaryFolder();
    await using registry = await startTestRegistry();
    const disk = join(folder.path, "disk.raw");
    // The manifests of an index list 8192 chunks' places each.
    const places = [0, 5 * MIB, 8191 * MIB, 8192 * MIB, 10_239 * MIB];
    await writeSparse(disk, 10_240 * MIB, places);
    const client = createRegistryClient({ address: registry.httpAddress });
    const reference = "guests/large:v1";
    const pushed = await importVmImage({ registry: client, file: disk, reference, maxManifestBytes: 1000 });
    expect(pushed.chunks).toBe(places.length);
    const manifest = await client.getManifest("guests/large", "v1");
    expect(manifest?.descriptor).toMatchObject({ mediaType: mediaTypes.index, digest: pushed.digest });
    const { manifests } = JSON.parse(String(manifest?.bytes)) as { manifests: { digest: string }[] };
    expect(manifests).toHaveLength(3);
    const images = createRpcClient(ImagesDefinition, registry.address);
    const image = await images.getImage({ reference });
    expect(image).toMatchObject({ digest: pushed.digest, virtualSizeBytes: 10_240 * MIB });
    images.close();
    const pulled = await pullVmImage({ registry: client, reference, into: join(folder.path, "images") });
    client.close();
    for (const place of places) expect(await readAt(pulled.disk, place)).toEqual(await readAt(disk, place));
  });
});

describe("a registry that is killed", () => {
  it("in the middle of a push shows nothing half-made, and the push repeated succeeds", async () => {
    await using folder = temporaryFolder();
    await using redis = await startRedis();
    const port = await freePort();
    const disk = join(folder.path, "disk.raw");
    await writeSparse(
      disk,
      64 * MIB,
      Array.from({ length: 48 }, (_, number) => number * MIB),
    );
    const data = join(folder.path, "data");
    const push = (onProgress?: () => void) => {
      const client = createRegistryClient({ address: `127.0.0.1:${port}` });
      const done = importVmImage({
        registry: client,
        file: disk,
        reference: "guest:v1",
        ...(onProgress && { onProgress }),
      });
      return done.finally(() => client.close());
    };
    {
      await using first = await startProcess(data, port, redis.url);
      let calls = 0;
      const killed = push(() => {
        calls += 1;
        if (calls === 10) first.child.kill("SIGKILL");
      });
      await expect(killed).rejects.toMatchObject({ reason: "REGISTRY_UNREACHABLE" });
    }
    await using second = await startProcess(data, port, redis.url);
    expect((await fetch(`http://127.0.0.1:${port}/v2/guest/manifests/v1`)).status).toBe(404);
    await expectWholeBlobs(join(data, "blobs", "sha256"));
    const pushed = await push();
    expect(pushed.chunks).toBe(48);
    expect(pushed.sentChunks).toBeLessThan(48);
    const client = createRegistryClient({ address: `127.0.0.1:${port}` });
    const pulled = await pullVmImage({ registry: client, reference: "guest:v1", into: join(folder.path, "images") });
    expect((await readFile(pulled.disk)).equals(await readFile(disk))).toBe(true);
    client.close();
    second.child.kill("SIGTERM");
    await second.ended;
    expect(second.child.signalCode).toBe("SIGTERM");
  });
});

async function startProcess(data: string, port: number, redisUrl: string) {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts")], {
    env: {
      ...process.env,
      REGISTRY_HTTP_ADDRESS: `127.0.0.1:${port}`,
      REGISTRY_ADDRESS: "127.0.0.1:0",
      REGISTRY_EVENTS: "none",
      REGISTRY_DATA: data,
      REDIS_URL: redisUrl,
      LOG_LEVEL: "silent",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  await once(createInterface(child.stdout), "line");
  return {
    child,
    ended,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await ended;
    },
  };
}

async function expectWholeBlobs(root: string): Promise<void> {
  const names = (await readdir(root, { recursive: true })).filter((name) => /[0-9a-f]{64}$/.test(name));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) expect(digestOf(await readFile(join(root, name)))).toBe(`sha256:${name.slice(-64)}`);
}

async function writeSparse(path: string, sizeBytes: number, offsets: readonly number[]): Promise<void> {
  await using file = await open(path, "w");
  await file.truncate(sizeBytes);
  for (const offset of offsets) await file.write(randomBytes(300_000), 0, 300_000, offset);
}

async function readAt(path: string, offset: number): Promise<Buffer> {
  await using file = await open(path, "r");
  return (await file.read(Buffer.alloc(MIB), 0, MIB, offset)).buffer;
}
