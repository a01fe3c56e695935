import { expect, it } from "vitest";
import { holds, parseScopes, scopeText } from "./scope.ts";

it("reads what clients ask for, also several scopes in one text", () => {
  expect(parseScopes(["repository:a/b:pull,push repository:c:pull", "registry:catalog:*"])).toEqual([
    { type: "repository", name: "a/b", actions: ["pull", "push"] },
    { type: "repository", name: "c", actions: ["pull"] },
    { type: "registry", name: "catalog", actions: ["*"] },
  ]);
});

it.each(["", "repository", "repository:a", "Repository:a:pull", "repository:a:PULL"])(
  "takes %j for nothing",
  (text) => {
    expect(parseScopes([text])).toEqual([]);
  },
);

it("reads no more than a hundred", () => {
  expect(parseScopes([Array.from({ length: 200 }, (_, n) => `repository:r${n}:pull`).join(" ")])).toHaveLength(100);
});

it("writes what it reads", () => {
  const text = "repository:a/b:pull,push";
  expect(parseScopes([text]).map(scopeText)).toEqual([text]);
});

it("holds an action for that repository alone", () => {
  const scopes = parseScopes(["repository:a/b:pull", "registry:c:pull"]);
  expect(holds(scopes, "a/b", "pull")).toBe(true);
  for (const [repository, action] of [
    ["a/b", "push"],
    ["a", "pull"],
    ["c", "pull"],
  ] as const) {
    expect(holds(scopes, repository, action)).toBe(false);
  }
});
