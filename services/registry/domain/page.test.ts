import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pageOf, readPageQuery } from "./page.ts";

describe("pageOf", () => {
  it("page by page gives every name once, in order", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 })), fc.integer({ min: 1, max: 5 }), (names, size) => {
        const seen: string[] = [];
        let last: string | undefined = "";
        while (last !== undefined) {
          const page = pageOf(names, { size, last: last === "" ? undefined : last });
          expect(page.items.length).toBeLessThanOrEqual(size);
          seen.push(...page.items);
          last = page.last;
        }
        expect(seen).toEqual([...names].sort((a, b) => (a < b ? -1 : 1)));
      }),
    );
  });

  it("ends a page before it gets too long, after one item at least", () => {
    const limit = { maxBytes: 10, sizeOf: (name: string) => name.length };
    const all = { size: undefined, last: undefined };
    expect(pageOf(["aaaa", "bbbb", "cccc"], all, limit)).toEqual({ items: ["aaaa", "bbbb"], last: "bbbb" });
    expect(pageOf(["a".repeat(20), "b"], all, limit)).toEqual({ items: ["a".repeat(20)], last: "a".repeat(20) });
    expect(pageOf(["a", "b"], all, limit)).toEqual({ items: ["a", "b"] });
  });

  it("without n gives all after last, with 0 none; refuses what is no number", () => {
    expect(pageOf(["b", "a", "c"], readPageQuery(new URLSearchParams({ last: "a" })))).toEqual({ items: ["b", "c"] });
    expect(pageOf(["b", "a"], readPageQuery(new URLSearchParams({ n: "0" })))).toEqual({ items: [] });
    for (const n of ["-1", "x", "1.5", ""]) {
      expect(() => readPageQuery(new URLSearchParams({ n }))).toThrow(
        expect.objectContaining({ code: "PAGINATION_NUMBER_INVALID" }),
      );
    }
  });
});
