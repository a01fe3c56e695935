import { describe, expect, it } from "vitest";
import { digestOf } from "./digest.ts";
import { parseReference, referenceText } from "./reference.ts";

const digest = digestOf(Buffer.from("x"));

describe("parseReference", () => {
  it.each([
    ["guest", { repository: "guest", tag: "latest" }],
    ["team/guest_a.b--c:v1.0-RC_1", { repository: "team/guest_a.b--c", tag: "v1.0-RC_1" }],
    [`a/b@${digest}`, { repository: "a/b", digest }],
    [
      `a:t@${digestOf(Buffer.from("x"), "sha512")}`,
      { repository: "a", tag: "t", digest: digestOf(Buffer.from("x"), "sha512") },
    ],
  ])("reads %s", (text, reference) => {
    expect(parseReference(text)).toEqual(reference);
    expect(parseReference(referenceText(reference))).toEqual(reference);
  });

  it.each([
    "",
    "A",
    "a:",
    ":t",
    "a@",
    "a@sha256:12",
    "../a",
    "a/../b",
    "a//b",
    "a b",
    "a:-t",
    "host:5000/a",
    "a".repeat(256),
  ])("refuses %j", (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ reason: "NAME_INVALID" }));
  });
});
