import { expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { type ConformanceClient, image, index } from "../../testing/conformance-client.ts";
import { describeRegistry } from "../../testing/describe-registry.ts";

async function get(client: ConformanceClient, path: string) {
  const response = await client.send("GET", path);
  const next = /^<([^>]+)>; rel="next"$/.exec(String(response.headers.link ?? ""))?.[1];
  return { response, next, json: JSON.parse(response.body.toString()) };
}

describeRegistry("Listing Tags", (client) => {
  const sorted = ["1.0", "A", "Z", "_x", "a", "a-b", "a.b", "aa", "b"];

  async function tagged(): Promise<string> {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository);
    await client.putManifest(
      repository,
      `${digest}?${sorted
        .toReversed()
        .map((tag) => `tag=${tag}`)
        .join("&")}`,
      bytes,
    );
    return repository;
  }

  it("200 with name and tags in lexical order", async () => {
    const repository = await tagged();
    const { response, json } = await get(client, `/v2/${repository}/tags/list`);
    expect([response.status, response.headers["content-type"]]).toEqual([200, "application/json"]);
    expect(json).toEqual({ name: repository, tags: sorted });
  });

  it("n gives so many and a link to the rest; 0 gives none and no link", async () => {
    const path = `/v2/${await tagged()}/tags/list`;
    const found: string[] = [];
    for (let next: string | undefined = `${path}?n=2`; next !== undefined; ) {
      const page = await get(client, next);
      expect(page.json.tags.length).toBeLessThanOrEqual(2);
      found.push(...page.json.tags);
      next = page.next;
    }
    expect(found).toEqual(sorted);
    for (const [query, tags] of [
      ["n=0", []],
      ["n=9", sorted],
      ["n=1000", sorted],
    ] as const) {
      const page = await get(client, `${path}?${query}`);
      expect([page.json.tags, page.next]).toEqual([tags, undefined]);
    }
  });

  it("last begins after a tag, whether or not there is one of that name, with n or without", async () => {
    const path = `/v2/${await tagged()}/tags/list`;
    for (const [query, tags] of [
      ["last=aa", ["b"]],
      ["last=a-a", ["a-b", "a.b", "aa", "b"]],
      ["last=b", []],
      ["last=a&n=2", ["a-b", "a.b"]],
      ["last=%2f%2e%2e&n=1", ["1.0"]],
    ] as const) {
      expect((await get(client, `${path}?${query}`)).json.tags).toEqual(tags);
    }
  });

  it.each(["n=-1", "n=x", "n=1.5", `n=${"9".repeat(30)}`, "n="])("refuses %s", async (query) => {
    const { response } = await get(client, `/v2/${await tagged()}/tags/list?${query}`);
    expect([response.status, response.code]).toEqual([400, "PAGINATION_NUMBER_INVALID"]);
  });

  it("a repository that is not there is 404", async () => {
    const { response } = await get(client, "/v2/conformance/absent/tags/list");
    expect([response.status, response.code]).toEqual([404, "NAME_UNKNOWN"]);
  });
});

describeRegistry("Listing Referrers", (client) => {
  it("200 with an empty index for a subject, or a repository, that is not there", async () => {
    const repository = client.repository();
    await client.pushImage(repository, "v1");
    for (const name of [repository, "conformance/absent"]) {
      const { response, json } = await get(client, `/v2/${name}/referrers/${digestOf(Buffer.from("absent"))}`);
      expect([response.status, response.headers["content-type"]]).toEqual([200, mediaTypes.index]);
      expect(json).toEqual({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] });
    }
    const bad = await client.send("GET", `/v2/${repository}/referrers/sha256:zz`);
    expect([bad.status, bad.code]).toEqual([400, "DIGEST_INVALID"]);
  });

  it("descriptors with type, size, annotations and artifact type, of images, artifacts and indexes; a filter", async () => {
    const repository = client.repository();
    const { descriptor: subject } = await client.pushImage(repository, "subject");
    const annotations = { "org.example.key": "value" };
    const artifact = await client.pushImage(repository, undefined, { subject, artifactType: "text/a", annotations });
    const plain = await client.pushImage(repository, "tagged", { subject });
    const list = { ...index([subject]), subject, artifactType: "text/b", annotations };
    const pushed = await client.putManifest(repository, "list", list);
    const all = [
      { ...artifact.descriptor, artifactType: "text/a", annotations },
      { ...plain.descriptor, artifactType: mediaTypes.empty },
      { ...describeIndex(pushed.bytes), artifactType: "text/b", annotations },
    ];
    const path = `/v2/${repository}/referrers/${subject.digest}`;
    const unfiltered = await get(client, path);
    expect(unfiltered.response.headers["oci-filters-applied"]).toBeUndefined();
    expect(unfiltered.json.manifests).toHaveLength(3);
    expect(unfiltered.json.manifests).toEqual(expect.arrayContaining(all));
    for (const wanted of all) {
      const filtered = await get(client, `${path}?artifactType=${encodeURIComponent(wanted.artifactType)}`);
      expect(filtered.response.headers["oci-filters-applied"]).toBe("artifactType");
      expect(filtered.json.manifests).toEqual([wanted]);
    }
    expect((await get(client, `${path}?artifactType=text/absent`)).json.manifests).toEqual([]);
  });

  it("by sha512, and before the subject itself is there", async () => {
    const repository = client.repository();
    const { bytes, descriptor } = await client.pushImage(client.repository());
    const subject = { ...descriptor, digest: digestOf(bytes, "sha512") };
    const { digest } = await client.pushImage(repository, undefined, { subject });
    const { json } = await get(client, `/v2/${repository}/referrers/${subject.digest}`);
    expect(json.manifests).toMatchObject([{ digest }]);
  });

  it("in pages, by links, with the filter kept; a deleted referrer is gone at once", async () => {
    const repository = client.repository();
    const { descriptor: subject } = await client.pushImage(repository, "subject");
    const digests: string[] = [];
    for (let number = 0; number < 5; number += 1) {
      const fields = { subject, artifactType: "text/a" };
      digests.push((await client.pushImage(repository, undefined, fields)).digest);
    }
    await client.pushImage(repository, undefined, { subject, artifactType: "text/b" });
    const found: string[] = [];
    const path = `/v2/${repository}/referrers/${subject.digest}`;
    for (let next: string | undefined = `${path}?artifactType=text/a&n=2`; next !== undefined; ) {
      const page = await get(client, next);
      expect(page.json.manifests.length).toBeLessThanOrEqual(2);
      found.push(...page.json.manifests.map(({ digest }: { digest: string }) => digest));
      next = page.next;
    }
    expect(found).toEqual(digests.toSorted());
    await client.send("DELETE", `/v2/${repository}/manifests/${found[0]}`);
    const left = await get(client, `${path}?artifactType=text/a`);
    expect(left.json.manifests).toHaveLength(4);
  });

  it("the referrers of a deleted subject stay", async () => {
    const repository = client.repository();
    const { descriptor: subject } = await client.pushImage(repository, "subject");
    const { digest } = await client.pushImage(repository, undefined, { subject });
    await client.send("DELETE", `/v2/${repository}/manifests/${subject.digest}`);
    const { json } = await get(client, `/v2/${repository}/referrers/${subject.digest}`);
    expect(json.manifests).toMatchObject([{ digest }]);
    expect(await client.status("GET", `/v2/${repository}/manifests/${digest}`)).toBe(200);
  });

  it("the fallback tag that clients without referrers use is a tag like any other", async () => {
    const repository = client.repository();
    const { digest } = await client.pushImage(repository);
    const tag = digest.replace(":", "-");
    expect((await client.putManifest(repository, tag, index([]))).response.status).toBe(201);
    expect((await get(client, `/v2/${repository}/manifests/${tag}`)).json).toEqual(index([]));
    expect((await client.putManifest(repository, "x", image(describeEmpty(), []))).response.status).toBe(201);
  });
});

const describeIndex = (bytes: Buffer) => ({ mediaType: mediaTypes.index, digest: digestOf(bytes), size: bytes.length });
const describeEmpty = () => ({ mediaType: mediaTypes.empty, digest: digestOf(Buffer.from("{}")), size: 2 });
