import fc from "fast-check";
import { expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { describeRegistry } from "../../testing/describe-registry.ts";

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

describeRegistry("Error Codes: whatever is sent", (client) => {
  it("is no server's error, and every refusal says why", async () => {
    const request = fc.record({ method, path, header, body });
    await fc.assert(
      fc.asyncProperty(request, async ({ method: verb, path: target, header: headers, body: content }) => {
        const sent = content === undefined || "content-length" in headers ? { headers } : { headers, body: content };
        const answer = await client.send(verb, target, sent);
        expect(answer.status, `${verb} ${target}`).toBeLessThan(500);
        if (answer.status >= 400 && verb !== "HEAD") expect(answer.code).toMatch(/^[A-Z_]+$/);
      }),
      { numRuns: 250 },
    );
  });
});
