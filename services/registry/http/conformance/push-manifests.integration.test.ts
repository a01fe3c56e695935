import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { describeBytes, image, index, locationOf } from "../../testing/conformance-client.ts";
import { describeRegistry } from "../../testing/describe-registry.ts";

const config = Buffer.from("{}");
const empty = describeBytes(config, mediaTypes.empty);
const absent = digestOf(Buffer.from("nobody has this"));

describeRegistry("Pushing Manifests", (client) => {
  it("201 by tag and by digest, with a location to pull from and the digest", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository);
    for (const reference of ["v1", digest, digestOf(bytes, "sha512")]) {
      const { response } = await client.putManifest(repository, reference, bytes);
      const expected = reference === "v1" ? digest : reference;
      expect([response.status, response.headers["docker-content-digest"]]).toEqual([201, expected]);
      expect((await client.send("GET", locationOf(response))).body.equals(bytes)).toBe(true);
    }
  });

  it("an index of images by sha512, with blobs by sha512", async () => {
    const repository = client.repository();
    const digest = await client.pushBlob(repository, config, digestOf(config, "sha512"));
    const manifest = Buffer.from(JSON.stringify(image({ ...empty, digest }, [{ ...empty, digest }])));
    const child = digestOf(manifest, "sha512");
    expect((await client.putManifest(repository, child, manifest)).response.status).toBe(201);
    const list = Buffer.from(JSON.stringify(index([describeBytes(manifest, mediaTypes.manifest, child)])));
    const { response } = await client.putManifest(repository, digestOf(list, "sha512"), list);
    expect([response.status, response.headers["docker-content-digest"]]).toEqual([201, digestOf(list, "sha512")]);
  });

  it.each(["sha256", "sha512"] as const)("by %s with ten tags and more, each told in OCI-Tag", async (algorithm) => {
    const repository = client.repository();
    const { bytes } = await client.pushImage(repository);
    const digest = digestOf(bytes, algorithm);
    const tags = Array.from({ length: 12 }, (_, number) => `tag-${number}`);
    const query = tags.map((tag) => `tag=${tag}`).join("&");
    const { response } = await client.putManifest(repository, `${digest}?${query}`, bytes);
    expect(response.status).toBe(201);
    expect(String(response.headers["oci-tag"]).split(", ").sort()).toEqual([...tags].sort());
    for (const tag of tags) {
      const head = await client.send("HEAD", `/v2/${repository}/manifests/${tag}`);
      expect([head.status, head.headers["docker-content-digest"]]).toEqual([200, digest]);
    }
  });

  it("a tag goes over to another manifest, and the old one stays by digest", async () => {
    const repository = client.repository();
    const first = await client.pushImage(repository, "v1");
    const second = await client.pushImage(repository, "v1");
    const head = await client.send("HEAD", `/v2/${repository}/manifests/v1`);
    expect(head.headers["docker-content-digest"]).toBe(second.digest);
    expect(await client.status("HEAD", `/v2/${repository}/manifests/${first.digest}`)).toBe(200);
  });

  it("the last of many writers to a tag wins, and all manifests are there", async () => {
    const repository = client.repository();
    const pushed = await Promise.all(Array.from({ length: 12 }, () => client.pushImage(repository, "race")));
    for (const { digest } of pushed) {
      expect(await client.status("HEAD", `/v2/${repository}/manifests/${digest}`)).toBe(200);
    }
    const { headers } = await client.send("HEAD", `/v2/${repository}/manifests/race`);
    expect(pushed.map(({ digest }) => digest)).toContain(headers["docker-content-digest"]);
  });

  it("4 MB and a little is taken, more is 413", async () => {
    const repository = client.repository();
    await client.pushBlob(repository, config);
    const filled = (bytes: number) => ({ ...image(empty, []), annotations: { filling: "A".repeat(bytes) } });
    const large = await client.putManifest(repository, "large", filled(4_000_000));
    expect([large.response.status, large.bytes.length > 4_000_000]).toEqual([201, true]);
    const get = await client.send("GET", `/v2/${repository}/manifests/large`);
    expect(get.body.equals(large.bytes)).toBe(true);
    for (const size of [4 * 2 ** 20, 20_000_000]) {
      const { response } = await client.putManifest(repository, "larger", filled(size));
      expect([response.status, response.code]).toEqual([413, "SIZE_INVALID"]);
    }
    expect(await client.status("GET", `/v2/${repository}/manifests/larger`)).toBe(404);
  });

  it("refuses what names blobs or manifests that are not there", async () => {
    const repository = client.repository();
    const missing = { ...empty, digest: absent };
    const child = { mediaType: mediaTypes.manifest, digest: absent, size: 2 };
    for (const manifest of [image(missing, []), image(missing, [missing]), index([child])]) {
      const { response } = await client.putManifest(repository, "v1", manifest);
      expect([response.status, response.code]).toEqual([404, "MANIFEST_BLOB_UNKNOWN"]);
    }
    const elsewhere = await client.pushImage(client.repository());
    expect((await client.putManifest(repository, "v1", elsewhere.bytes)).response.code).toBe("MANIFEST_BLOB_UNKNOWN");
    expect(await client.status("GET", `/v2/${repository}/manifests/v1`)).toBe(404);
  });

  it("refuses a descriptor that gives another size than the blob has", async () => {
    const repository = client.repository();
    await client.pushBlob(repository, config);
    for (const size of [1, 3, 2 ** 40]) {
      const { response } = await client.putManifest(repository, "v1", image({ ...empty, size }, []));
      expect([response.status, response.code]).toEqual([400, "MANIFEST_INVALID"]);
    }
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["nothing", ""],
    ["neither layers nor manifests", "{}"],
    ["layers that are no list", JSON.stringify({ ...image(empty, []), layers: {} })],
    ["a layer that is no object", JSON.stringify({ ...image(empty, []), layers: [1] })],
    ["a layer without a digest", JSON.stringify({ ...image(empty, []), layers: [{ size: 1 }] })],
    ["a negative size", JSON.stringify({ ...image(empty, []), layers: [{ ...empty, size: -1 }] })],
    ["a fractional size", JSON.stringify({ ...image(empty, []), layers: [{ ...empty, size: 1.5 }] })],
    ["a subject that is no descriptor", JSON.stringify({ ...image(empty, []), subject: "x" })],
    ["a config that is null", JSON.stringify({ ...image(empty, []), config: null })],
    ["another media type than the request's", JSON.stringify({ ...image(empty, []), mediaType: "text/x" })],
    ["very deep nesting", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
    ["a digest that leads out", JSON.stringify(image({ ...empty, digest: "sha256:../../etc" }, []))],
  ])("refuses a manifest with %s", async (_case, body) => {
    const repository = client.repository();
    await client.pushBlob(repository, config);
    const headers = { "content-type": mediaTypes.manifest };
    const put = await client.send("PUT", `/v2/${repository}/manifests/v1`, { headers, body });
    expect(put.status).toBe(400);
    expect(["MANIFEST_INVALID", "DIGEST_INVALID"]).toContain(put.code);
  });

  it("refuses a manifest under a digest that is not its own, and tags that are none", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository);
    for (const bad of [absent, "sha256:baddigeststring", digestOf(Buffer.from("x"), "sha512"), "md5:00"]) {
      const { response } = await client.putManifest(repository, bad, bytes);
      expect([response.status, response.code]).toEqual([400, "DIGEST_INVALID"]);
    }
    const body = Buffer.concat([bytes, Buffer.from("  ")]);
    expect((await client.putManifest(repository, digest, body)).response.code).toBe("DIGEST_INVALID");
    for (const tag of [".x", "-x", "x".repeat(129), "a%2fb", "..", "a%00"]) {
      expect((await client.putManifest(repository, tag, bytes)).response.status).toBe(400);
      const query = `${digest}?tag=good&tag=${tag}`;
      expect((await client.putManifest(repository, query, bytes)).response.status).toBe(400);
    }
    expect(await client.status("GET", `/v2/${repository}/manifests/good`)).toBe(404);
  });
});

describeRegistry("Pushing Manifests with Subject", (client) => {
  it("tells the subject in OCI-Subject, also one that is not there", async () => {
    const repository = client.repository();
    const subject = await client.pushImage(repository, "subject");
    for (const descriptor of [subject.descriptor, { ...subject.descriptor, digest: absent, size: 123 }]) {
      const { response } = await client.pushImage(repository, undefined, { subject: descriptor });
      expect(response.headers["oci-subject"]).toBe(descriptor.digest);
    }
    const list = { ...index([subject.descriptor]), subject: subject.descriptor, artifactType: "text/x" };
    const { response } = await client.putManifest(repository, "list", list);
    expect([response.status, response.headers["oci-subject"]]).toEqual([201, subject.digest]);
    expect(subject.response.headers["oci-subject"]).toBeUndefined();
  });

  it("a subject that is no digest is refused", async () => {
    const repository = client.repository();
    await client.pushBlob(repository, config);
    const subject = { mediaType: mediaTypes.manifest, digest: "sha256:zz", size: 1 };
    const { response } = await client.putManifest(repository, "v1", { ...image(empty, []), subject });
    expect([response.status, response.code]).toEqual([400, "DIGEST_INVALID"]);
  });

  it("pushed again, also with random bytes between, it is listed once", async () => {
    const repository = client.repository();
    const subject = await client.pushImage(repository, "subject");
    const referrer = await client.pushImage(repository, undefined, { subject: subject.descriptor });
    await client.pushBlob(repository, randomBytes(10));
    await client.putManifest(repository, "again", referrer.bytes);
    const list = await client.send("GET", `/v2/${repository}/referrers/${subject.digest}`);
    expect(JSON.parse(list.body.toString()).manifests).toHaveLength(1);
  });
});
