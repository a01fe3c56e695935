import { expect, test } from "vitest";
import { labelProblems } from "#libs/spec-checks";

test("too many labels are refused", () => {
  const labels = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, "v"]));
  expect(labelProblems("labels", labels)).toMatchObject([{ field: "labels" }]);
});
