import { expect, test } from "vitest";
import { absentAsUndefined, asFsRefusal } from "./storage-errors.ts";

const failure = (code: string) => Object.assign(new Error(`${code}: /srv/registry/blobs`), { code });

test.each([
  ["ENOSPC", 507, "the registry has no space left"],
  ["EDQUOT", 507, "the registry has no space left"],
  ["EFBIG", 507, "the registry has no space left"],
  ["EIO", 503, "the registry's disk does not answer as it should: try again"],
  ["EROFS", 503, "the registry's disk does not answer as it should: try again"],
  ["EMFILE", 503, "the registry's disk does not answer as it should: try again"],
])("%s is told with %i, without a path", (code, status, message) => {
  const cause = failure(code);
  expect(asFsRefusal(cause)).toMatchObject({ code: "UNAVAILABLE", status, message, cause });
  expect(() => absentAsUndefined(cause)).toThrow(message);
});

test("what is absent is no failure, and whatever else fails is left as it is", () => {
  expect(absentAsUndefined(failure("ENOENT"))).toBeUndefined();
  const other = failure("ECONNRESET");
  expect(asFsRefusal(other)).toBe(other);
});
