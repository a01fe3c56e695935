import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type Descriptor, digestOf, mediaTypes } from "#libs/oci";
import { startTestRegistry } from "../testing/registry-fixture.ts";
import { pushBlob, pushManifest } from "./oci-fixture.ts";

async function getJson<Body>(url: string): Promise<{ body: Body; link: string | null; headers: Headers }> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  return { body: (await response.json()) as Body, link: response.headers.get("link"), headers: response.headers };
}

describe("Content discovery", () => {
  it("lists tags sorted, page by page", async () => {
    await using registry = await startTestRegistry();
    for (const tag of ["b", "a", "C", "c"]) await pushManifest(registry.url, "list/me", tag);
    const url = `${registry.url}/v2/list/me/tags/list`;
    expect((await getJson(url)).body).toEqual({ name: "list/me", tags: ["C", "a", "b", "c"] });
    const first = await getJson<{ tags: string[] }>(`${url}?n=3`);
    expect(first.body.tags).toEqual(["C", "a", "b"]);
    const next = /<(.+)>; rel="next"/.exec(first.link ?? "")?.[1];
    const second = await getJson<{ tags: string[] }>(`${registry.url}${next}`);
    expect([second.body.tags, second.link]).toEqual([["c"], null]);
    expect((await getJson<{ tags: string[] }>(`${url}?n=0`)).body.tags).toEqual([]);
    expect((await fetch(`${url}?n=x`)).status).toBe(400);
    expect((await fetch(`${registry.url}/v2/nobody/tags/list`)).status).toBe(404);
  });

  it("lists repositories, also one inside another", async () => {
    await using registry = await startTestRegistry();
    for (const repository of ["b/c", "a", "b"]) await pushManifest(registry.url, repository, "v1");
    expect((await getJson(`${registry.url}/v2/_catalog`)).body).toEqual({ repositories: ["a", "b", "b/c"] });
    const page = await getJson<{ repositories: string[] }>(`${registry.url}/v2/_catalog?n=2&last=a`);
    expect([page.body.repositories, page.link]).toEqual([["b", "b/c"], null]);
  });

  it("lists referrers with filter, of missing subjects too", async () => {
    await using registry = await startTestRegistry();
    const subject = { mediaType: mediaTypes.manifest, digest: digestOf(Buffer.from("not here yet")), size: 12 };
    const url = `${registry.url}/v2/a/referrers/${subject.digest}`;
    const empty = await getJson<{ manifests: Descriptor[] }>(url);
    expect(empty.headers.get("content-type")).toBe(mediaTypes.index);
    expect(empty.body).toEqual({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] });
    const extra = { annotations: { made: "here" } };
    const one = await pushManifest(registry.url, "a", "", { subject, artifactType: "x/one", extra });
    expect(one.response.headers.get("oci-subject")).toBe(subject.digest);
    const two = await pushManifest(registry.url, "a", "two", { subject });
    const all = (await getJson<{ manifests: Descriptor[] }>(url)).body.manifests;
    expect(all).toContainEqual({ ...one.descriptor, artifactType: "x/one", annotations: { made: "here" } });
    expect(all).toContainEqual({ ...two.descriptor, artifactType: mediaTypes.empty });
    const filtered = await getJson<{ manifests: Descriptor[] }>(`${url}?artifactType=x/one`);
    expect(filtered.headers.get("oci-filters-applied")).toBe("artifactType");
    expect(filtered.body.manifests.map(({ digest }) => digest)).toEqual([one.digest]);
    expect((await fetch(`${registry.url}/v2/a/manifests/${one.digest}`, { method: "DELETE" })).status).toBe(202);
    expect((await getJson<{ manifests: Descriptor[] }>(url)).body.manifests.map(({ digest }) => digest)).toEqual([
      two.digest,
    ]);
    expect((await fetch(`${registry.url}/v2/a/referrers/sha256:1`)).status).toBe(400);
  });
});

describe("Content management", () => {
  it("deletes a tag alone, and with a manifest all its tags at once", async () => {
    await using registry = await startTestRegistry();
    const { digest } = await pushManifest(registry.url, "a", "one");
    await pushManifest(registry.url, "a", "two");
    await pushManifest(registry.url, "a", "other", { layers: [randomBytes(3)] });
    const remove = async (reference: string) =>
      (await fetch(`${registry.url}/v2/a/manifests/${reference}`, { method: "DELETE" })).status;
    expect(await remove("one")).toBe(202);
    expect(await remove("one")).toBe(404);
    expect((await fetch(`${registry.url}/v2/a/manifests/${digest}`)).status).toBe(200);
    expect(await remove(digest)).toBe(202);
    expect((await getJson(`${registry.url}/v2/a/tags/list`)).body).toEqual({ name: "a", tags: ["other"] });
    expect((await fetch(`${registry.url}/v2/a/manifests/${digest}`)).status).toBe(404);
  });

  it("deletes a blob from one repository and leaves it in others", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(100);
    for (const repository of ["a", "b"]) await pushBlob(registry.url, repository, blob);
    const ask = async (repository: string, method: string) =>
      (await fetch(`${registry.url}/v2/${repository}/blobs/${digestOf(blob)}`, { method })).status;
    expect(await ask("a", "DELETE")).toBe(202);
    expect([await ask("a", "HEAD"), await ask("a", "GET"), await ask("b", "HEAD")]).toEqual([404, 404, 200]);
    expect(await ask("a", "DELETE")).toBe(404);
  });

  it("the last of many writers to a tag wins, and all manifests are there", async () => {
    await using registry = await startTestRegistry();
    const layers = Array.from({ length: 12 }, () => randomBytes(20));
    const pushed = await Promise.all(
      layers.map((layer) => pushManifest(registry.url, "a", "race", { layers: [layer] })),
    );
    expect(pushed.every(({ response }) => response.status === 201)).toBe(true);
    for (const { digest } of pushed) {
      expect((await fetch(`${registry.url}/v2/a/manifests/${digest}`, { method: "HEAD" })).status).toBe(200);
    }
    const winner = await fetch(`${registry.url}/v2/a/manifests/race`);
    expect(pushed.map(({ digest }) => digest)).toContain(winner.headers.get("docker-content-digest"));
  });
});
