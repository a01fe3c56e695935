import { expect, test } from "vitest";
import { readAgentConfig } from "./config.ts";

test("a wrong variable is named with the form it should have", () => {
  expect(() => readAgentConfig({ AGENT_DATA: "relative" })).toThrowError(
    /AGENT_DATA is wrong: expected an absolute path/,
  );
});
