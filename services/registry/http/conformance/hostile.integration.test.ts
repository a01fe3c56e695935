import { readdir } from "node:fs/promises";
import { METHODS } from "node:http";
import { join, relative } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { describeRegistry } from "../../testing/describe-registry.ts";
import { sendOnce } from "../../testing/registry-user.ts";

const digest = digestOf(Buffer.from("{}"));
const id = "6f1c8f3e-0000-4000-8000-000000000000";
const odd = [
  "..",
  "%2e%2e",
  "%2f",
  "%00",
  "%ff",
  "",
  "_catalog",
  "~",
  "a".repeat(300),
  "-",
  "sha256:",
  "%",
  "💥",
  "\\",
];
const names = ["conformance", "conformance/x", "x", "A", "a//b", "conformance/..", "conformance/x/manifests"];
const references = ["latest", digest, "sha256:zz", `sha512:${"0".repeat(128)}`, id, ".x", "x".repeat(129)];
const queries = [
  `digest=${digest}`,
  "digest=",
  "mount=x",
  `mount=${digest}&from=..`,
  "n=-1",
  "n=2&last=%00",
  "tag=..",
  "%",
];

const oddText = fc.constantFrom(...odd);
const name = fc.oneof(fc.constantFrom(...names), oddText);
const reference = fc.oneof(fc.constantFrom(...references), oddText);
const path = fc
  .tuple(
    name,
    fc.constantFrom("manifests", "blobs", "blobs/uploads", "tags/list", "referrers", "_catalog", ""),
    reference,
    fc.option(fc.constantFrom(...queries)),
  )
  .map(
    ([repository, kind, last, query]) =>
      encodeURI(`/v2/${repository}/${kind}/${last}`).replaceAll("%25", "%") + (query === null ? "" : `?${query}`),
  );
const header = fc.constantFrom(
  {},
  { "content-range": "0-9" },
  { "content-range": "9-0" },
  { "content-range": "bytes 0-9/*" },
  { range: "bytes=5-1" },
  { range: "bytes=99999999999999999999-" },
  { "content-type": mediaTypes.manifest },
  { "content-type": "a".repeat(1_000) },
  { "if-none-match": "*" },
  { accept: "text/nothing" },
  { "content-length": "0" },
);
const body = fc.oneof(
  fc.constant(undefined),
  fc.string(),
  fc.json(),
  fc
    .object({ key: fc.constantFrom("config", "layers", "manifests", "subject", "digest", "size", "mediaType", "urls") })
    .map((value) => JSON.stringify(value)),
);
const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS");

/** Requests that nobody would write: any path and headers that HTTP can carry. */
const fragment = fc.oneof(
  oddText.map((text) => encodeURI(text).replaceAll("%25", "%")),
  fc.constantFrom(
    "..%2f..%2f",
    "....",
    ".%00.",
    "%2e%2e/",
    "..;/",
    "%c0%ae",
    "v2",
    "blobs",
    "uploads",
    "manifests",
    "token",
  ),
  fc.string({ unit: "binary", maxLength: 20 }).map((text) => encodeURIComponent(text.toWellFormed())),
);
const anyPath = fc
  .tuple(
    fc.constantFrom("/v2/", "/", "/v2/conformance/"),
    fc.array(fragment, { maxLength: 6 }),
    fc.webQueryParameters(),
  )
  .map(([start, fragments, query]) => `${start}${fragments.join("/")}?${query}`);
const headerText = fc.stringMatching(/^[\x20-\x7e]{0,40}$/);
const anyHeaders = fc.dictionary(
  fc.constantFrom(
    ...["authorization", "content-range", "content-type", "range", "if-none-match", "accept", "traceparent"],
    ...["x-forwarded-host", "x-forwarded-for", "host", "expect", "connection", "origin", "cookie"],
  ),
  headerText.filter((text) => text !== "100-continue"),
  { maxKeys: 4 },
);
const anyMethod = fc.constantFrom(...METHODS.filter((name) => name !== "CONNECT"));

/** As `keys` makes them; what is in `tmp` is on its way. */
const ownFiles = new RegExp(
  [
    /^tmp\/[0-9a-f-]{36}$/,
    /^blobs\/sha(256|512)\/[0-9a-f]{2}\/[0-9a-f]+$/,
    /^repositories\/[a-z0-9/._-]+\/_(blobs|manifests)\/sha(256|512)\/[0-9a-f]+$/,
    /^repositories\/[a-z0-9/._-]+\/_(tags\/\w[\w.-]*|tagged\/[\w.-]+|referrers\/[\w-]+\/[\w-]+)$/,
    /^(catalog|known)\/[a-z0-9!._-]+$/,
    /^uploads\/[0-9a-f-]{36}\.[0-9a-f-]+$/,
    /^(collect|outbox|reserve)\/[\w!./-]+$/,
  ]
    .map(({ source }) => source)
    .join("|"),
);

/** Files around the registry's folder, and in it, that it has no reason to make. */
async function strangeFiles(data: string): Promise<string[]> {
  const top = join(data, "../..");
  const found = await readdir(top, { recursive: true, withFileTypes: true });
  const files = found.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  expect(files).not.toEqual([]);
  const isOwn = (file: string) => ownFiles.test(relative(data, file));
  return files.filter((file) => !isOwn(file));
}

describeRegistry("Error Codes: whatever is sent", (client) => {
  beforeAll(async () => {
    await client.pushImage("conformance/x", "latest");
  });

  it("is no server's error, and every refusal says why", async () => {
    const request = fc.record({ method, path, header, body });
    await fc.assert(
      fc.asyncProperty(request, async ({ method: verb, path: target, header: headers, body: content }) => {
        const sent = content === undefined || "content-length" in headers ? { headers } : { headers, body: content };
        const answer = await client.send(verb, target, sent);
        expect(answer.status, `${verb} ${target}`).toBeLessThan(500);
        if (answer.status >= 400 && verb !== "HEAD") expect(answer.code).toMatch(/^[A-Z_]+$/);
      }),
      { numRuns: 200 },
    );
    expect(await strangeFiles(client.cluster.data)).toEqual([]);
  });

  it("is no server's error, though it is no client's request either, and writes nothing but what it should", async () => {
    const request = fc.record({ method: anyMethod, path: anyPath, headers: anyHeaders, body });
    const login = await client.cluster.login("hostile", "conformance/*");
    await fc.assert(
      fc.asyncProperty(
        request,
        fc.boolean(),
        async ({ method: verb, path: target, headers, body: content }, isKnown) => {
          const all = isKnown ? { ...headers, ...login } : headers;
          const sent = content === undefined ? { headers: all } : { headers: all, body: content };
          const answer = await sendOnce(client.cluster.url, verb, target, sent);
          expect(answer.status, `${verb} ${target} ${JSON.stringify(headers)}`).toBeLessThan(500);
        },
      ),
      { numRuns: 150 },
    );
    expect(await strangeFiles(client.cluster.data)).toEqual([]);
  });
});
