import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { type Digest, digestOf } from "#libs/oci";
import { type ConformanceClient, locationOf, withDigest } from "../../testing/conformance-client.ts";
import { describeRegistry } from "../../testing/describe-registry.ts";

const octets = { "content-type": "application/octet-stream" };
const algorithms = ["sha256", "sha512"] as const;

async function expectBlob(client: ConformanceClient, location: string, blob: Buffer, digest: Digest): Promise<void> {
  const get = await client.send("GET", location);
  expect([get.status, get.headers["docker-content-digest"]]).toEqual([200, digest]);
  expect(get.body.equals(blob)).toBe(true);
}

describeRegistry("Pushing a blob monolithically: POST then PUT", (client) => {
  it.each(algorithms)("202 with a location, then 201 with one to pull from, by %s", async (algorithm) => {
    const repository = client.repository();
    for (const size of [0, 2, 100_000]) {
      const blob = randomBytes(size);
      const digest = digestOf(blob, algorithm);
      const query = algorithm === "sha512" ? "?digest-algorithm=sha512" : "";
      const location = await client.startUpload(repository, query);
      const put = await client.sendChunk("PUT", withDigest(location, digest), blob);
      expect([put.status, put.headers["docker-content-digest"]]).toEqual([201, digest]);
      await expectBlob(client, locationOf(put), blob, digest);
    }
  });

  it("the algorithm that was announced need not be the one that is used; an unknown one is refused", async () => {
    const repository = client.repository();
    const blob = randomBytes(10);
    const location = await client.startUpload(repository, "?digest-algorithm=sha512");
    expect((await client.sendChunk("PUT", withDigest(location, digestOf(blob)), blob)).status).toBe(201);
    const refused = await client.send("POST", `/v2/${repository}/blobs/uploads/?digest-algorithm=md5`);
    expect([refused.status, refused.code]).toEqual([400, "DIGEST_INVALID"]);
  });

  it("locations are relative, so that no proxy can make them wrong", async () => {
    expect(await client.startUpload(client.repository())).toMatch(/^\/v2\//);
  });
});

describeRegistry("Pushing a blob monolithically: single POST", (client) => {
  it.each(algorithms)("201 at once, by %s", async (algorithm) => {
    const repository = client.repository();
    for (const size of [0, 512, 3_000_000]) {
      const blob = randomBytes(size);
      const digest = digestOf(blob, algorithm);
      const path = withDigest(`/v2/${repository}/blobs/uploads/`, digest);
      const post = await client.send("POST", path, { headers: octets, body: blob });
      expect([post.status, post.headers["docker-content-digest"]]).toEqual([201, digest]);
      await expectBlob(client, locationOf(post), blob, digest);
    }
  });
});

describeRegistry("Pushing a blob in chunks", (client) => {
  it.each(algorithms)("PATCH in order, each 202 with location and range, by %s", async (algorithm) => {
    const repository = client.repository();
    const blob = randomBytes(3_067);
    const digest = digestOf(blob, algorithm);
    for (const putsFrom of [2_048, 3_067]) {
      let location = await client.startUpload(repository);
      for (let first = 0; first < putsFrom; first += 1_024) {
        const end = Math.min(first + 1_024, putsFrom);
        const sent = await client.sendChunk("PATCH", location, blob.subarray(first, end), `${first}-${end - 1}`);
        expect([sent.status, sent.headers.range]).toEqual([202, `0-${end - 1}`]);
        location = locationOf(sent);
      }
      const last = blob.subarray(putsFrom);
      const range = last.length === 0 ? undefined : `${putsFrom}-${blob.length - 1}`;
      const put = await client.sendChunk("PUT", withDigest(location, digest), last, range);
      expect(put.status).toBe(201);
      await expectBlob(client, locationOf(put), blob, digest);
    }
  });

  it.each(["PATCH", "PUT"] as const)(
    "416 to a %s out of order; the session says where it is and goes on",
    async (last) => {
      const repository = client.repository();
      const blob = randomBytes(2_000);
      let location = await client.startUpload(repository);
      const refuse = async (method: "PATCH" | "PUT", first: number, expected: RegExp) => {
        const to = method === "PUT" ? withDigest(location, digestOf(blob)) : location;
        const refused = await client.sendChunk(method, to, blob.subarray(first), `${first}-1999`);
        expect(refused.status).toBe(416);
        expect(refused.headers.range).toMatch(expected);
        const status = await client.send("GET", locationOf(refused));
        expect([status.status, status.body.length]).toEqual([204, 0]);
        expect(status.headers.range).toMatch(expected);
        location = locationOf(status);
      };
      await refuse(last, 1_000, /^0-\d+$/);
      location = locationOf(await client.sendChunk("PATCH", location, blob.subarray(0, 1_000), "0-999"));
      await refuse(last, 0, /^0-999$/);
      await refuse(last, 1_500, /^0-999$/);
      location = locationOf(await client.sendChunk("PATCH", location, blob.subarray(1_000), "1000-1999"));
      expect((await client.send("PUT", withDigest(location, digestOf(blob)))).status).toBe(201);
    },
  );

  it("a chunk that was sent twice counts once", async () => {
    const repository = client.repository();
    const blob = randomBytes(2_000);
    const location = await client.startUpload(repository);
    const send = () => client.sendChunk("PATCH", location, blob.subarray(0, 1_000), "0-999");
    const both = await Promise.all([send(), send()]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 416]);
    expect((await client.sendChunk("PATCH", location, blob.subarray(1_000), "1000-1999")).status).toBe(202);
    expect((await client.send("PUT", withDigest(location, digestOf(blob)))).status).toBe(201);
  });

  it.each(["bytes=0-9", "0-", "-9", "9-0", "a-b", "0-9/10", "0-99999999999999999999"])(
    "refuses the malformed Content-Range %s and stays open",
    async (range) => {
      const location = await client.startUpload(client.repository());
      const blob = randomBytes(10);
      const refused = await client.sendChunk("PATCH", location, blob, range);
      expect([refused.status, refused.code]).toEqual([416, "BLOB_UPLOAD_INVALID"]);
      expect((await client.sendChunk("PATCH", location, blob, "0-9")).status).toBe(202);
    },
  );

  it("refuses a chunk that is not as long as its Content-Range says", async () => {
    const location = await client.startUpload(client.repository());
    const refused = await client.sendChunk("PATCH", location, randomBytes(10), "0-19");
    expect([refused.status, refused.code]).toEqual([400, "SIZE_INVALID"]);
    expect((await client.sendChunk("PATCH", location, randomBytes(20), "0-19")).status).toBe(202);
  });

  it.each(algorithms)("a stream without Content-Range, by %s", async (algorithm) => {
    const repository = client.repository();
    const blob = randomBytes(200_000);
    const digest = digestOf(blob, algorithm);
    const streamed = await client.sendChunk("PATCH", await client.startUpload(repository), blob);
    expect(streamed.status).toBe(202);
    const put = await client.send("PUT", withDigest(locationOf(streamed), digest));
    expect(put.status).toBe(201);
    await expectBlob(client, locationOf(put), blob, digest);
  });

  it("GET of an upload tells how far it is; of one that nobody began, 404", async () => {
    const repository = client.repository();
    const location = await client.startUpload(repository);
    expect((await client.send("GET", location)).headers.range).toMatch(/^0-\d+$/);
    await client.sendChunk("PATCH", location, randomBytes(1_000));
    const status = await client.send("GET", location);
    expect([status.status, status.headers.range, locationOf(status)]).toEqual([204, "0-999", location]);
    for (const id of ["0", "..%2f..", "00000000-0000-0000-0000-000000000000", "%00", "%ff"]) {
      const unknown = await client.send("GET", `/v2/${repository}/blobs/uploads/${id}`);
      expect([unknown.status, unknown.code]).toEqual([404, "BLOB_UPLOAD_UNKNOWN"]);
    }
    const elsewhere = location.replace(repository, client.repository());
    expect(await client.status("GET", elsewhere)).toBe(404);
  });
});

describeRegistry("Canceling a blob upload", (client) => {
  it("DELETE is 204, and nothing of the upload is left", async () => {
    const location = await client.startUpload(client.repository());
    await client.sendChunk("PATCH", location, randomBytes(100));
    expect(await client.status("DELETE", location)).toBe(204);
    for (const method of ["GET", "DELETE"] as const) expect(await client.status(method, location)).toBe(404);
    expect((await client.sendChunk("PATCH", location, randomBytes(10))).code).toBe("BLOB_UPLOAD_UNKNOWN");
  });
});

describeRegistry("Content Digests: bad ones", (client) => {
  const blob = randomBytes(3_000);
  const other = digestOf(Buffer.from("other content"));

  it.each([
    ["of other content", other],
    ["of other content, sha512", digestOf(Buffer.from("other"), "sha512")],
    ["malformed", "sha256:baddigeststring"],
    ["too short", "sha256:00"],
    ["upper case", digestOf(blob).toUpperCase()],
    ["of an unknown algorithm", `md5:${"0".repeat(32)}`],
    ["none", ""],
  ])("%s: 400 to POST, to PUT and after chunks, and no blob", async (_case, digest) => {
    const repository = client.repository();
    const post = withDigest(`/v2/${repository}/blobs/uploads/`, digest);
    expect((await client.send("POST", post, { headers: octets, body: blob })).status).toBe(400);
    const whole = withDigest(await client.startUpload(repository), digest);
    const put = await client.sendChunk("PUT", whole, blob);
    expect([put.status, put.code]).toEqual([400, "DIGEST_INVALID"]);
    for (const range of ["0-2999", undefined]) {
      const location = locationOf(await client.sendChunk("PATCH", await client.startUpload(repository), blob, range));
      expect((await client.send("PUT", withDigest(location, digest))).status).toBe(400);
    }
    for (const absent of [digestOf(blob), other]) {
      expect(await client.status("HEAD", `/v2/${repository}/blobs/${absent}`)).toBe(404);
    }
  });
});

describeRegistry("Mounting a blob from another repository", (client) => {
  it.each(algorithms)("201 from a repository that has it, and where none is named, by %s", async (algorithm) => {
    const source = client.repository();
    const blob = randomBytes(1_000);
    const digest = await client.pushBlob(source, blob, digestOf(blob, algorithm));
    for (const from of [`&from=${encodeURIComponent(source)}`, ""]) {
      const target = client.repository();
      const post = await client.send("POST", `/v2/${target}/blobs/uploads/?mount=${digest}${from}`);
      expect([post.status, post.headers["docker-content-digest"]]).toEqual([201, digest]);
      await expectBlob(client, locationOf(post), blob, digest);
    }
  });

  it("202 for a blob, or from a repository, that is not there; the upload takes the blob then", async () => {
    const source = client.repository();
    const elsewhere = await client.pushBlob(source, randomBytes(100));
    for (const query of [
      `mount=${digestOf(Buffer.from("absent"))}&from=${source}`,
      `mount=${digestOf(Buffer.from("absent"))}`,
      `mount=${elsewhere}&from=conformance/absent`,
      `mount=${elsewhere}&from=..%2f..%2fetc`,
      `mount=${elsewhere}&from=`,
    ]) {
      const blob = randomBytes(1_000);
      const location = await client.startUpload(client.repository(), `?${query}`);
      expect((await client.sendChunk("PUT", withDigest(location, digestOf(blob)), blob)).status).toBe(201);
    }
  });

  it("a mounted blob stays when its source goes", async () => {
    const [source, target] = [client.repository(), client.repository()];
    const blob = randomBytes(500);
    const digest = await client.pushBlob(source, blob);
    await client.send("POST", `/v2/${target}/blobs/uploads/?mount=${digest}&from=${source}`);
    expect(await client.status("DELETE", `/v2/${source}/blobs/${digest}`)).toBe(202);
    await expectBlob(client, `/v2/${target}/blobs/${digest}`, blob, digest);
    expect(await client.status("HEAD", `/v2/${source}/blobs/${digest}`)).toBe(404);
  });
});
