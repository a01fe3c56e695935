import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pageOf } from "./page.ts";

describe("pageOf", () => {
  it("page by page gives every name once, in order", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 })), fc.integer({ min: 1, max: 5 }), (names, size) => {
        const seen: string[] = [];
        let last: string | undefined = "";
        while (last !== undefined) {
          const page = pageOf(names, { n: String(size), last: last === "" ? null : last });
          expect(page.items.length).toBeLessThanOrEqual(size);
          seen.push(...page.items);
          last = page.last;
        }
        expect(seen).toEqual([...names].sort((a, b) => (a < b ? -1 : 1)));
      }),
    );
  });

  it("without n gives all after last, with 0 none; refuses what is no number", () => {
    expect(pageOf(["b", "a", "c"], { n: null, last: "a" })).toEqual({ items: ["b", "c"] });
    expect(pageOf(["b", "a"], { n: "0", last: null })).toEqual({ items: [] });
    for (const n of ["-1", "x", "1.5", ""]) {
      expect(() => pageOf([], { n, last: null })).toThrow(
        expect.objectContaining({ code: "PAGINATION_NUMBER_INVALID" }),
      );
    }
  });
});
