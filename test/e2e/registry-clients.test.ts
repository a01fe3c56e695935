/** Command-line clients as people have them, against two replicas behind a proxy that takes turns, with logins. */
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dockerEngine, eventually, type TestEngine } from "#libs/testing";
import type { RegistryUser } from "../../services/registry/testing/registry-user.ts";
import { type ReplicaCluster, startReplicaCluster } from "../../services/registry/testing/replica-cluster.ts";
import { hearsSkopeo, type ImageTools, startImageTools } from "../harness/image-tools.ts";
import { busyboxImage } from "../images/build.ts";

const MIB = 2 ** 20;
const ending = new AsyncDisposableStack();
let engine: TestEngine;
let registry: ReplicaCluster;
let tools: ImageTools;
let busybox: string;
let ci: { readonly name: string; readonly secret: string };
let reader: string;
let user: RegistryUser;
const clients = ["docker", "skopeo", "podman", "buildah"] as const;
type Client = (typeof clients)[number];

interface Entry {
  readonly digest: string;
  readonly platform: { readonly architecture: string };
}

/** Names for images in our registry; those in team/ are for the account `ci`. */
const team = (name: string) => `${registry.host}/team/${name}`;
const remote = (name: string) => `docker://${team(name)}`;

beforeAll(async () => {
  engine = ending.use(await dockerEngine());
  busybox = await busyboxImage(engine);
  registry = ending.use(await startReplicaCluster());
  tools = ending.use(await startImageTools(registry.host, engine.socketPath));
  ci = await registry.robot("ci", { "team/*": ["PULL", "PUSH", "DELETE"] });
  reader = (await registry.robot("reader", { "team/*": ["PULL"] })).secret;
  user = registry.asUser(ci);
  for (const client of clients) await login(client, ci.secret);
  ending.defer(() => removeImages());
  await tools.docker("tag", busybox, team("app:1"));
  await tools.docker("push", team("app:1"));
  console.log((await tools.versions()).join("\n"));
});
afterAll(() => ending.disposeAsync());

async function login(client: Client, secret: string): Promise<string> {
  const plain = client === "docker" ? [] : ["--tls-verify=false"];
  return await tools[client]("login", ...plain, "-u", "ci", "-p", secret, registry.host);
}

/** Those that these tests gave names of this registry. */
async function removeImages(): Promise<void> {
  const found = await engine.docker.listImages({ filters: { reference: [`${registry.host}/*/*`] } });
  const names = found.flatMap(({ RepoTags, RepoDigests }) => [...(RepoTags ?? []), ...(RepoDigests ?? [])]);
  for (const name of names.filter((it) => it.startsWith(registry.host))) {
    await engine.docker
      .getImage(name)
      .remove()
      .catch(() => {});
  }
}

async function digestAt(name: string): Promise<string> {
  return await tools.skopeo("inspect", "--format", "{{.Digest}}", remote(name));
}

describe("an image that docker pushed", () => {
  test("is pulled and run by docker and podman, and searched for", async () => {
    const name = `${team("app")}@${await digestAt("app:1")}`;
    await tools.docker("rmi", team("app:1"));
    expect(await tools.docker("run", "--rm", "--pull", "always", name, "echo", "docker")).toContain("docker");
    expect(await tools.podman("run", "--rm", name, "/bin/busybox", "echo", "podman")).toContain("podman");
    expect(await tools.podman("search", "--format", "{{.Name}}", `${registry.host}/team/`)).toContain(team("app"));
  });

  test("is copied by skopeo to every place it knows, and back from there", async () => {
    const { folder, skopeo } = tools;
    const storage = `containers-storage:[overlay@${join(folder, "root")}+${join(folder, "run")}]`;
    const daemon = `unix://${engine.socketPath}`;
    const places: Record<string, string> = {
      registry: remote("copies/first:1"),
      dir: `dir:${join(folder, "dir")}`,
      oci: `oci:${join(folder, "oci")}:app`,
      "oci-archive": `oci-archive:${join(folder, "oci.tar")}:app`,
      "docker-archive": `docker-archive:${join(folder, "docker.tar")}:${team("app:1")}`,
      "containers-storage": `${storage}${team("from-skopeo:1")}`,
      ...((await hearsSkopeo(engine)) && { "docker-daemon": `docker-daemon:${team("from-skopeo:1")}` }),
    };
    const config = async (name: string) => JSON.parse(await skopeo("inspect", "--config", remote(name)));
    const { rootfs } = await config("app:1");
    for (const [kind, place] of Object.entries(places)) {
      await skopeo("copy", "--dest-daemon-host", daemon, remote("app:1"), place);
      await skopeo("copy", "--src-daemon-host", daemon, place, remote(`copies/${kind}:1`));
      expect((await config(`copies/${kind}:1`)).rootfs, kind).toEqual(rootfs);
    }
    for (const same of ["copies/registry:1", "copies/dir:1"])
      expect(await digestAt(same)).toBe(await digestAt("app:1"));
    await skopeo("sync", "--src", "docker", "--dest", "docker", team("copies/oci"), team("synced"));
    expect(await digestAt("synced/oci:1")).toBe(await digestAt("copies/oci:1"));
    await skopeo("delete", remote("synced/oci:1"));
    await expect(digestAt("synced/oci:1")).rejects.toThrow(/manifest unknown/);
  });

  test("is what buildah builds another of, which podman tags and pushes", async () => {
    const { buildah, podman } = tools;
    const work = await buildah("from", team("app:1"));
    await buildah("run", "--isolation", "chroot", work, "--", "/bin/busybox", "touch", "/made");
    await buildah("config", "--label", "made=here", work);
    await buildah("commit", "--rm", work, team("built:1"));
    await buildah("push", team("built:1"));
    await podman("tag", team("built:1"), team("built:podman"));
    await podman("push", team("built:podman"));
    await podman("rmi", "--force", team("built:1"), team("built:podman"));
    await podman("pull", team("built:podman"));
    expect(await podman("run", "--rm", team("built:podman"), "/bin/busybox", "ls", "/made")).toBe("/made");
    expect(JSON.parse(await tools.skopeo("list-tags", remote("built"))).Tags).toEqual(["1", "podman"]);
  });
});

test("an index of several platforms is made, pushed and copied whole by docker, buildah and skopeo", async () => {
  const { buildah, docker, skopeo, folder } = tools;
  const arm = await buildah("from", team("app:1"));
  await buildah("config", "--arch", "arm64", arm);
  await buildah("commit", "--rm", "--tls-verify=false", arm, remote("multi:arm"));
  await buildah("manifest", "create", "multi");
  await buildah("manifest", "add", "--tls-verify=false", "--arch", "amd64", "multi", remote("app:1"));
  await buildah(
    "manifest",
    "add",
    "--tls-verify=false",
    "--arch",
    "arm64",
    "--variant",
    "v8",
    "multi",
    remote("multi:arm"),
  );
  await buildah("manifest", "push", "--all", "--tls-verify=false", "--format", "oci", "multi", remote("multi:oci"));
  await buildah("manifest", "push", "--all", "--tls-verify=false", "--format", "v2s2", "multi", remote("multi:docker"));
  await docker("manifest", "create", "--insecure", team("multi:list"), team("app:1"), team("multi:arm"));
  await docker("manifest", "annotate", "--arch", "arm64", team("multi:list"), team("multi:arm"));
  await docker("manifest", "push", "--insecure", team("multi:list"));
  for (const tag of ["oci", "docker", "list"]) {
    const layout = `oci:${join(folder, `multi-${tag}`)}:x`;
    const [raw] = await Promise.all([
      skopeo("inspect", "--raw", remote(`multi:${tag}`)),
      docker("pull", team(`multi:${tag}`)),
    ]);
    expect(JSON.parse(raw).manifests.map((it: Entry) => it.platform.architecture)).toEqual(["amd64", "arm64"]);
    if (tag === "oci") await skopeo("copy", "--all", "--preserve-digests", remote(`multi:${tag}`), layout);
    const source = tag === "oci" ? layout : remote(`multi:${tag}`);
    await skopeo("copy", "--all", "--preserve-digests", source, remote(`copies/multi:${tag}`));
    expect(await skopeo("inspect", "--raw", remote(`copies/multi:${tag}`))).toBe(raw);
  }
});

test("wrong passwords and missing rights are told in each client's own words", async () => {
  const { docker, skopeo, podman, buildah } = tools;
  for (const client of clients) {
    await expect(login(client, "wrong"), client).rejects.toThrow(/unauthorized|invalid username\/password/);
  }
  const elsewhere = `${registry.host}/other/app:1`;
  await docker("tag", busybox, elsewhere);
  await podman("pull", team("app:1"));
  const pushes = [
    docker("push", elsewhere),
    skopeo("copy", remote("app:1"), `docker://${elsewhere}`),
    podman("push", team("app:1"), elsewhere),
    buildah("push", team("app:1"), `docker://${elsewhere}`),
  ];
  await Promise.all(pushes.map((push) => expect(push).rejects.toThrow(/denied: you may not push here/)));
  const pulls = [docker("pull", elsewhere), podman("pull", elsewhere), buildah("pull", elsewhere)];
  await Promise.all(pulls.map((pull) => expect(pull).rejects.toThrow(/name unknown: there is no such repository/)));
  await expect(skopeo("delete", "--creds", `reader:${reader}`, remote("app:1"))).rejects.toThrow(/may not delete here/);
  await expect(skopeo("inspect", "--no-creds", remote("app:1"))).rejects.toThrow(
    /unauthorized|authentication required/,
  );
  await docker("logout", registry.host);
  await expect(docker("pull", team("app:1"))).rejects.toThrow(/unauthorized: a name and a password are needed/);
  await login("docker", ci.secret);
});

describe("large layers", () => {
  /**
   * Makes an image with one layer that cannot be compressed, in the engine and in the storage of podman and buildah.
   * @returns the path of an archive of it
   */
  async function makeImage(name: string, sizeBytes: number): Promise<string> {
    const archive = join(tools.folder, "image.tar");
    const file = join(tools.folder, "random.bin");
    await writeFile(file, randomBytes(sizeBytes));
    const work = await tools.buildah("from", "scratch");
    await tools.buildah("add", work, file);
    await tools.buildah("commit", "--rm", work, team(name));
    await rm(archive, { force: true });
    await tools.podman("save", "-o", archive, team(name));
    await tools.docker("load", "-i", archive);
    return archive;
  }

  /** Pulls it, which checks every digest. */
  async function layersOf(name: string): Promise<string[]> {
    await tools.skopeo("copy", remote(name), `dir:${join(tools.folder, `layers-${name.replaceAll(/[/:]/g, "-")}`)}`);
    return JSON.parse(await tools.skopeo("inspect", remote(name))).Layers;
  }

  test("are pushed by several clients at the same time", async () => {
    const archive = await makeImage("parallel:1", 8 * MIB);
    const { docker, skopeo, podman, buildah } = tools;
    await docker("tag", team("parallel:1"), team("parallel-too:docker"));
    await Promise.all([
      docker("push", team("parallel:1")),
      docker("push", team("parallel-too:docker")),
      skopeo("copy", `docker-archive:${archive}`, remote("parallel:skopeo")),
      podman("push", team("parallel:1"), team("parallel:podman")),
      buildah("push", team("parallel:1"), remote("parallel:buildah")),
    ]);
    const pushed = ["parallel:skopeo", "parallel:podman", "parallel:buildah", "parallel:1", "parallel-too:docker"];
    const layers = await Promise.all(pushed.map(layersOf));
    expect(layers.map((it) => it.length)).toEqual([1, 1, 1, 1, 1]);
    expect(layers[3]).toEqual(layers[4]);
  });

  test("are pushed although the replica is killed that takes them, by docker itself and by podman when told again", async () => {
    await makeImage("killed:docker", 24 * MIB);
    await tools.podman("tag", team("killed:docker"), team("killed:podman"));
    for (const client of ["docker", "podman"] as const) {
      const name = `killed:${client}`;
      const push = () => tools[client]("push", team(name));
      const pushed = push().catch((error: unknown) => error);
      const replica = await eventually(() => registry.receiving(), { deadlineMs: 20_000, everyMs: 2 });
      await replica.kill();
      const { status } = await user.send("GET", `/v2/team/killed/manifests/${client}`);
      expect(status).toBe(404);
      if (client === "podman") {
        expect(await pushed).toBeInstanceOf(Error);
        await push();
      } else {
        expect(await pushed).toContain("digest: sha256:");
      }
      await replica.start();
      expect(await layersOf(name)).toHaveLength(1);
    }
  });
});
