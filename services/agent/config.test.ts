import { expect, test } from "vitest";
import { hostId, readAgentConfig } from "./config.ts";

test.each([
  ["web-1", "web-1"],
  ["Web_1.example.org", "web-1"],
  ["42", "host"],
  ["9node-", "node"],
])("a host named %s is %s", (name, id) => {
  expect(hostId(name)).toBe(id);
});

test("a wrong variable is named with the form it should have", () => {
  expect(() => readAgentConfig({ AGENT_DATA: "relative" })).toThrowError(
    /AGENT_DATA is wrong: expected an absolute path/,
  );
});
