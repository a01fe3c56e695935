import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { describeBytes, image, index } from "../../testing/conformance-client.ts";
import { describeRegistry } from "../../testing/describe-registry.ts";

const absent = digestOf(Buffer.from("nobody has this"));

describeRegistry("Determining Support", (client) => {
  it("GET /v2/ is 200 with a login and tells the version", async () => {
    const response = await client.send("GET", "/v2/");
    expect([response.status, response.headers["docker-distribution-api-version"]]).toEqual([200, "registry/2.0"]);
  });
});

describeRegistry("Pulling manifests", (client) => {
  it.each(["sha256", "sha512"] as const)(
    "GET by tag and by %s, byte for byte, with length, type and digest",
    async (algorithm) => {
      const repository = client.repository();
      const { bytes } = await client.pushImage(repository, undefined, { extra: { unknown: [1, 2.5, "x"] } });
      const digest = digestOf(bytes, algorithm);
      const pretty = Buffer.from(`${JSON.stringify(JSON.parse(bytes.toString()), undefined, 3)}\n`);
      await client.putManifest(repository, `${digest}?tag=v1`, bytes);
      await client.putManifest(repository, "pretty", pretty);
      for (const [reference, body, expected] of [
        ["v1", bytes, digest],
        [digest, bytes, digest],
        ["pretty", pretty, digestOf(pretty)],
      ] as const) {
        const get = await client.send("GET", `/v2/${repository}/manifests/${reference}`);
        expect(get.status).toBe(200);
        expect(get.body.equals(body)).toBe(true);
        expect(get.headers).toMatchObject({
          "content-type": mediaTypes.manifest,
          "content-length": String(body.length),
          "docker-content-digest": expected,
          etag: `"${expected}"`,
        });
      }
    },
  );

  it("a repository, tag or digest that is not there is 404, a malformed digest no server's error", async () => {
    const repository = client.repository();
    await client.pushImage(repository, "v1");
    for (const path of [
      `${repository}/manifests/v2`,
      `${repository}/manifests/${absent}`,
      "conformance/no/manifests/v1",
    ]) {
      const get = await client.send("GET", `/v2/${path}`);
      expect([get.status, get.code]).toEqual([404, "MANIFEST_UNKNOWN"]);
    }
    for (const bad of [
      "sha256:baddigeststring",
      "md5:0",
      "sha512:00",
      "sha256:",
      ":x",
      `${"x".repeat(129)}`,
      ".hidden",
    ]) {
      expect([400, 404]).toContain(await client.status("GET", `/v2/${repository}/manifests/${bad}`));
    }
  });

  it("answers 304 to whoever has it already", async () => {
    const repository = client.repository();
    const { digest } = await client.pushImage(repository, "v1");
    const get = await client.send("GET", `/v2/${repository}/manifests/v1`, {
      headers: { "if-none-match": `"${digest}"` },
    });
    expect([get.status, get.body.length]).toEqual([304, 0]);
  });
});

describeRegistry("Pulling blobs", (client) => {
  it.each(["sha256", "sha512"] as const)(
    "GET by %s, of every size, with length, digest and ETag",
    async (algorithm) => {
      const repository = client.repository();
      for (const size of [0, 1, 65_536, 65_537, 2 ** 20 + 1, 5 * 2 ** 20 + 7]) {
        const blob = randomBytes(size);
        const digest = await client.pushBlob(repository, blob, digestOf(blob, algorithm));
        const get = await client.send("GET", `/v2/${repository}/blobs/${digest}`);
        expect(get.status).toBe(200);
        expect(get.body.equals(blob)).toBe(true);
        expect(get.headers).toMatchObject({ "content-length": String(size), "docker-content-digest": digest });
        const again = await client.send("GET", `/v2/${repository}/blobs/${digest}`, {
          headers: { "if-none-match": get.headers.etag },
        });
        expect([again.status, again.body.length]).toEqual([304, 0]);
      }
    },
  );

  it("parts: 206 with Content-Range and the part's length, also one that reaches beyond the end", async () => {
    const repository = client.repository();
    const blob = randomBytes(2_048);
    const digest = await client.pushBlob(repository, blob);
    for (const [range, first, end] of [
      ["bytes=500-1499", 500, 1_500],
      ["bytes=500-", 500, 2_048],
      ["bytes=-500", 1_548, 2_048],
      ["bytes=2000-5000", 2_000, 2_048],
      ["bytes=-5000", 0, 2_048],
      ["bytes=0-0", 0, 1],
    ] as const) {
      const get = await client.send("GET", `/v2/${repository}/blobs/${digest}`, { headers: { range } });
      expect(get.status).toBe(206);
      expect(get.body.equals(blob.subarray(first, end))).toBe(true);
      expect(get.headers).toMatchObject({
        "content-length": String(end - first),
        "content-range": `bytes ${first}-${end - 1}/2048`,
      });
    }
  });

  it("416 where nothing of the range exists, and the whole for what is no range", async () => {
    const repository = client.repository();
    const digest = await client.pushBlob(repository, randomBytes(2_048));
    const get = (range: string) => client.send("GET", `/v2/${repository}/blobs/${digest}`, { headers: { range } });
    for (const range of ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"]) {
      const refused = await get(range);
      expect([refused.status, refused.headers["content-range"]]).toEqual([416, "bytes */2048"]);
    }
    for (const range of ["bytes=a-b", "lines=1-2", "bytes=", "bytes=1-2,5-6", `bytes=${"9".repeat(400)}x`]) {
      expect((await get(range)).status).toBe(200);
    }
    const empty = await client.pushBlob(repository, Buffer.alloc(0));
    const path = `/v2/${repository}/blobs/${empty}`;
    expect((await client.send("GET", path, { headers: { range: "bytes=0-" } })).status).toBe(416);
  });

  it("404 for what the repository does not have, though another one has it", async () => {
    const repository = client.repository();
    const blob = randomBytes(100);
    const digest = await client.pushBlob(client.repository(), blob);
    for (const path of [`${repository}/blobs/${digest}`, `${repository}/blobs/${absent}`]) {
      const get = await client.send("GET", `/v2/${path}`);
      expect([get.status, get.code]).toEqual([404, "BLOB_UNKNOWN"]);
      expect(await client.status("HEAD", `/v2/${path}`)).toBe(404);
    }
    expect([400, 404]).toContain(await client.status("GET", `/v2/${repository}/blobs/sha256:zz`));
  });
});

describeRegistry("Checking if content exists in the registry", (client) => {
  it("HEAD of a manifest by tag and digest, with what a GET would say and no body", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository, "v1");
    for (const reference of ["v1", digest]) {
      const head = await client.send("HEAD", `/v2/${repository}/manifests/${reference}`);
      expect([head.status, head.body.length]).toEqual([200, 0]);
      expect(head.headers).toMatchObject({
        "content-type": mediaTypes.manifest,
        "content-length": String(bytes.length),
        "docker-content-digest": digest,
      });
    }
    expect(await client.status("HEAD", `/v2/${repository}/manifests/${absent}`)).toBe(404);
  });

  it("HEAD of a blob, of every size", async () => {
    const repository = client.repository();
    for (const size of [0, 10, 100_000]) {
      const digest = await client.pushBlob(repository, randomBytes(size));
      const head = await client.send("HEAD", `/v2/${repository}/blobs/${digest}`);
      expect([head.status, head.body.length]).toEqual([200, 0]);
      expect(head.headers).toMatchObject({ "content-length": String(size), "docker-content-digest": digest });
    }
  });
});

describeRegistry("Pulling what was pushed: all shapes of content", (client) => {
  const config = Buffer.from("{}");
  const layer = Buffer.from("layer");
  const configured = describeBytes(config, "application/vnd.oci.image.config.v1+json");

  it.each([
    ["an image", image(configured, [describeBytes(layer)])],
    ["no layers", image(configured, [])],
    ["layers that are null", image(configured, null)],
    ["an index of nothing", index([])],
    ["an index that is null", index(null)],
    [
      "descriptors with data",
      image({ ...configured, data: config.toString("base64") } as never, [describeBytes(layer)]),
    ],
    [
      "an artifact",
      { ...image(describeBytes(config, mediaTypes.empty), [describeBytes(layer, "text/x")]), artifactType: "text/x" },
    ],
    [
      "media types that nobody knows",
      image(describeBytes(config, "application/x-a"), [describeBytes(layer, "application/x-b")]),
    ],
    ["fields that nobody knows", { ...image(configured, []), "org.example.more": { deep: [null, true] } }],
  ])("%s", async (_shape, manifest) => {
    const repository = client.repository();
    for (const blob of [config, layer]) await client.pushBlob(repository, blob);
    const { bytes, response } = await client.putManifest(repository, "shape", manifest);
    expect(response.status).toBe(201);
    const get = await client.send("GET", `/v2/${repository}/manifests/shape`);
    expect(get.body.equals(bytes)).toBe(true);
  });

  it("an index of an index of images", async () => {
    const repository = client.repository();
    const images = [await client.pushImage(repository), await client.pushImage(repository)];
    const inner = await client.putManifest(repository, "inner", index(images.map(({ descriptor }) => descriptor)));
    const outer = await client.putManifest(repository, "outer", index([describeBytes(inner.bytes, mediaTypes.index)]));
    expect([inner.response.status, outer.response.status]).toEqual([201, 201]);
    const get = await client.send("GET", `/v2/${repository}/manifests/outer`);
    expect([get.headers["content-type"], get.body.equals(outer.bytes)]).toEqual([mediaTypes.index, true]);
  });

  it("layers with urls, which are kept elsewhere", async () => {
    const repository = client.repository();
    await client.pushBlob(repository, config);
    const elsewhere = { ...describeBytes(layer), digest: absent, size: 123_456, urls: ["https://store.example/x"] };
    expect((await client.putManifest(repository, "urls", image(configured, [elsewhere]))).response.status).toBe(201);
  });
});
