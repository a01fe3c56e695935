import { expect, test } from "vitest";
import { StillpointError } from "#libs/errors";
import { removedOnce } from "./removed-once.ts";

const missing = new StillpointError("GROUP_NOT_FOUND", "there is no group");
const fails = (error: Error) => () => Promise.reject(error);

test("what a repeated call finds gone is removed, and only then", async () => {
  const repeated = { previousAttempts: 1 };
  expect(await removedOnce(repeated, "GROUP_NOT_FOUND", fails(missing))).toBeUndefined();
  await expect(removedOnce({ previousAttempts: 0 }, "GROUP_NOT_FOUND", fails(missing))).rejects.toBe(missing);
  await expect(removedOnce(repeated, "SCHEDULE_NOT_FOUND", fails(missing))).rejects.toBe(missing);
  expect(await removedOnce(repeated, "GROUP_NOT_FOUND", async () => "removed")).toBe("removed");
});
