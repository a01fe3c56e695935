import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#libs/clock";
import { createRegistryClient, digestOf, importVmImage, mediaTypes, pullVmImage } from "#libs/oci";
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
  it("logs in, copies both ways, deletes; and is refused without a login and elsewhere", async () => {
    await using folder = temporaryFolder();
    const layout = await makeLayout(join(folder.path, "in"));
    const host = new URL(cluster.url).host;
    const login = `agent:${secret}`;
    const target = `docker://${host}/guests/hello:1`;
    const skopeo = (...args: string[]) => run("skopeo", args);
    const authFile = join(folder.path, "auth.json");
    await skopeo("login", "--authfile", authFile, "--tls-verify=false", "-u", "agent", "-p", secret, host);
    await skopeo("copy", "--dest-tls-verify=false", "--dest-creds", login, `oci:${layout}:x`, target);
    const out = `oci:${join(folder.path, "out")}:x`;
    await skopeo("copy", "--src-tls-verify=false", "--authfile", authFile, target, out);
    const second = `docker://${host}/guests/deep/er:2`;
    const both = ["--src-tls-verify=false", "--dest-tls-verify=false", "--authfile", authFile];
    await skopeo("copy", ...both, target, second);
    await skopeo("delete", "--tls-verify=false", "--creds", login, second);
    for (const args of [
      ["inspect", "--tls-verify=false", "--no-creds", target],
      ["inspect", "--tls-verify=false", "--creds", "agent:wrong", target],
      ["copy", "--dest-tls-verify=false", "--dest-creds", login, `oci:${layout}:x`, `docker://${host}/others/hello:1`],
      ["login", "--authfile", authFile, "--tls-verify=false", "-u", "agent", "-p", "wrong", host],
    ]) {
      await expect(skopeo(...args)).rejects.toThrow(/unauthorized|denied|authentication|invalid username/i);
    }
  });
});

/** An OCI layout with one image of one layer, tagged x. */
async function makeLayout(path: string): Promise<string> {
  const blobs = join(path, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    await writeFile(join(blobs, digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const rootfs = { type: "layers", diff_ids: [digestOf(Buffer.alloc(1_024))] };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  const image = { architecture: "amd64", os: "linux", config: {}, rootfs };
  const config = await put("application/vnd.oci.image.config.v1+json", json(image));
  const layer = await put("application/vnd.oci.image.layer.v1.tar", Buffer.alloc(1_024));
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] };
  const described = await put(mediaTypes.manifest, json(manifest));
  const named = { ...described, annotations: { "org.opencontainers.image.ref.name": "x" } };
  await writeFile(join(path, "index.json"), json({ schemaVersion: 2, manifests: [named] }));
  await writeFile(join(path, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
  return path;
}
