import { expect, test } from "vitest";
import { runWith } from "./testing/fake-cluster.ts";

test("the noun is the first word that is no value of an option; only where there is none does help tell of all", async () => {
  const lines = [
    ["group", "checkpoint", "--help"],
    ["--project", "vm", "-o", "json", "group", "checkpoint", "--help"],
  ];
  for (const line of lines) {
    expect(await runWith({}, line)).toMatchObject({
      code: 0,
      out: expect.stringContaining("stillpoint group checkpoint"),
    });
  }
  const { out } = await runWith({}, ["--help"]);
  expect(out).toMatch(/^ {2}vm .*^ {2}cert /ms);
  expect(await runWith({}, ["grop", "vm"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("Did you mean group?"),
  });
});
