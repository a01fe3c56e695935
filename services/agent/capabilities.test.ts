import { cpus } from "node:os";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { readCapacity } from "./capabilities.ts";

test("a host tells the CPUs that it has: how far they are shared out is the scheduler's", async () => {
  await using folder = temporaryFolder();
  expect((await readCapacity(folder.path)).cpus).toBe(cpus().length);
});
