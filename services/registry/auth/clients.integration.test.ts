import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { systemClock } from "#libs/clock";
import { createRegistryClient, digestOf, importVmImage, mediaTypes, pullVmImage } from "#libs/oci";
import { createRpcClient } from "#libs/rpc";
import { temporaryFolder } from "#libs/testing";
import { type RegistryCluster, startRegistryCluster } from "../testing/registry-cluster.ts";

const run = promisify(execFile);
let cluster: RegistryCluster;
let secret: string;
/** How far the registry's clock is ahead, in ms. */
let ahead = 0;
const clock = { ...systemClock, now: () => new Date(Date.now() + ahead) };

beforeAll(async () => {
  cluster = await startRegistryCluster({ replicas: 2, clock });
  const made = await cluster.accounts.createAccount({
    name: "registry/accounts/agent",
    kind: "ACCOUNT_KIND_ROBOT",
    rights: [
      {
        repositories: "guests/*",
        actions: ["REPOSITORY_ACTION_PULL", "REPOSITORY_ACTION_PUSH", "REPOSITORY_ACTION_DELETE"],
      },
    ],
  });
  secret = made.secret;
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe("our own client", () => {
  it("pushes and pulls images with a login, also after its tokens have expired", async () => {
    await using folder = temporaryFolder();
    const file = join(folder.path, "disk.raw");
    await writeFile(file, randomBytes(3 * 2 ** 20));
    const registry = createRegistryClient({ address: cluster.url, login: { user: "agent", password: secret } });
    const pushed = await importVmImage({ registry, file, reference: "guests/web:v1" });
    ahead += 3_600_000;
    const reference = `guests/web@${pushed.digest}`;
    const pulled = await pullVmImage({ registry, reference, into: join(folder.path, "images") });
    expect(pulled.disk).toContain(folder.path);
    ahead += 3_600_000;
    await writeFile(file, randomBytes(2 ** 20));
    await importVmImage({ registry, file, reference: "guests/web:v2" });
    await registry.deleteManifest("guests/web", "v2");
    await expect(registry.hasManifest("others/web", "v1")).resolves.toBe(false);
    await expect(importVmImage({ registry, file, reference: "others/web:v1" })).rejects.toMatchObject({
      reason: "PERMISSION_DENIED",
    });
    registry.close();
  });

  it("gets a new token before the old one ends", async () => {
    let passedMs = 0;
    const own = { ...systemClock, monotonicMs: () => performance.now() + passedMs };
    const login = { user: "agent", password: secret };
    const registry = createRegistryClient({ address: cluster.url, login, clock: own });
    await registry.hasManifest("guests/web", "v1");
    [passedMs, ahead] = [800_000, ahead + 800_000];
    expect(await registry.hasManifest("guests/web", "v1")).toBe(true);
    ahead += 200_000;
    expect(await registry.hasManifest("guests/web", "v1")).toBe(true);
    registry.close();
  });

  it("says that a login is needed, or wrong", async () => {
    for (const login of [undefined, { user: "agent", password: "wrong" }, { user: "nobody", password: "x" }]) {
      const registry = createRegistryClient({ address: cluster.url, login });
      const asked = registry.getManifest("guests/web", "v1");
      await expect(asked).rejects.toMatchObject({ reason: "REGISTRY_LOGIN", help: /STILLPOINT_REGISTRY_USER/ });
      registry.close();
    }
  });

  it("reads all pages of referrers", async () => {
    const login = { user: "agent", password: secret };
    const registry = createRegistryClient({ address: cluster.url, login });
    const subject = { mediaType: mediaTypes.manifest, digest: digestOf(Buffer.from("absent")), size: 1 };
    const config = { mediaType: mediaTypes.empty, digest: digestOf(Buffer.from("{}")), size: 2 };
    const empty = Buffer.from("{}");
    await registry.putBlob("guests/many", { digest: config.digest, sizeBytes: 2, open: () => empty });
    for (const number of [1, 2]) {
      const annotations = { filling: String(number).repeat(3_000_000) };
      const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [], subject, annotations };
      const bytes = Buffer.from(JSON.stringify(manifest));
      await registry.putManifest("guests/many", `v${number}`, { mediaType: mediaTypes.manifest, bytes });
    }
    expect(await registry.referrers("guests/many", subject.digest)).toHaveLength(2);
    registry.close();
  });
});

describe("skopeo", () => {
  it("carries artifacts, and the index that clients without the API of referrers keep under a tag", async () => {
    await using folder = temporaryFolder();
    const { path, image, sbom, fallback } = await makeLayout(join(folder.path, "in"));
    const repository = `docker://${new URL(cluster.url).host}/guests/signed`;
    const copy = (from: string, to: string) => {
      const options = ["--preserve-digests", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
      const logins = [from, to].flatMap((place, at) =>
        place.startsWith("docker:") ? [at === 0 ? "--src-creds" : "--dest-creds", `agent:${secret}`] : [],
      );
      return run("skopeo", ["copy", ...options, ...logins, from, to]);
    };
    const registry = createRegistryClient({ address: cluster.url, login: { user: "agent", password: secret } });
    await copy(`oci:${path}:image`, `${repository}:1`);
    await copy(`oci:${path}:sbom`, `${repository}@${sbom.digest}`);
    const listed = [{ ...sbom, artifactType: "application/vnd.example.sbom" }];
    expect(await registry.referrers("guests/signed", image.digest)).toEqual(listed);

    const tag = image.digest.replace(":", "-");
    await copy(`oci:${path}:fallback`, `${repository}:${tag}`);
    const kept = await registry.getManifest("guests/signed", tag);
    expect(kept?.descriptor).toEqual(fallback);
    expect(await registry.referrers("guests/signed", image.digest)).toEqual(listed);
    await copy(`${repository}@${sbom.digest}`, `oci:${join(folder.path, "out")}:x`);

    await registry.deleteManifest("guests/signed", image.digest);
    const collection = createRpcClient(CollectionDefinition, cluster.rpcAddress);
    const { holdings } = await collection.explainKept({ reference: `guests/signed@${sbom.digest}` });
    expect(holdings).toMatchObject([{ step: "COLLECTION_STEP_KEEP", reasons: expect.arrayContaining([`tag ${tag}`]) }]);
    expect(await registry.referrers("guests/signed", image.digest)).toEqual(listed);
    collection.close();
    registry.close();
  });
});

/** An OCI layout with an image, an artifact about it, and the index that lists this for clients without the API. */
async function makeLayout(path: string) {
  const blobs = join(path, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const putManifest = (mediaType: string, fields: object) =>
    put(mediaType, json({ schemaVersion: 2, mediaType, ...fields }));
  const layer = await put("application/vnd.oci.image.layer.v1.tar", Buffer.alloc(1_024));
  const rootfs = { type: "layers", diff_ids: [layer.digest] };
  const config = json({ architecture: "amd64", os: "linux", config: {}, rootfs });
  const image = await putManifest(mediaTypes.manifest, {
    config: await put("application/vnd.oci.image.config.v1+json", config),
    layers: [layer],
  });
  const sbom = await putManifest(mediaTypes.manifest, {
    artifactType: "application/vnd.example.sbom",
    config: await put(mediaTypes.empty, json({})),
    layers: [await put("text/spdx", Buffer.from("SPDXVersion: SPDX-2.3"))],
    subject: image,
  });
  const fallback = await putManifest(mediaTypes.index, { manifests: [sbom] });
  const named = Object.entries({ image, sbom, fallback }).map(([name, described]) => ({
    ...described,
    annotations: { "org.opencontainers.image.ref.name": name },
  }));
  await writeFile(join(path, "index.json"), json({ schemaVersion: 2, manifests: named }));
  await writeFile(join(path, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
  return { path, image, sbom, fallback };
}
