import { expect, test } from "vitest";
import { recordNameOf } from "./record-name.ts";

test.each([
  ["debian", "repositories/debian"],
  ["team/app", "projects/team/repositories/app"],
  ["team/a/b.c", "projects/team/repositories/aX2FbX2Ec"],
])("the record of %s is %s", (repository, name) => expect(recordNameOf(repository)).toBe(name));
