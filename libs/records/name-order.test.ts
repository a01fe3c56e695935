import fc from "fast-check";
import { expect, test } from "vitest";
import { NameOrder } from "./name-order.ts";

const name = fc.stringMatching(/^[ab]{1,2}\/?[a-c-]{0,3}$/);
const prefix = fc.oneof(name, fc.constant(""));

test("after any history it gives what sorting all names would", () => {
  const step = fc.record({ kind: fc.constantFrom("add", "delete"), name });
  const asked = fc.record({ prefix, after: fc.option(name, { nil: undefined }), limit: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(name), fc.array(step), asked, (first, steps, { prefix, after, limit }) => {
      const order = new NameOrder(new Set(first));
      const names = new Set(first);
      for (const { kind, name } of steps) {
        order[kind](name);
        names[kind](name);
      }
      const matching = [...names].sort().filter((one) => one.startsWith(prefix) && one > (after ?? ""));
      const wanted = after === undefined ? [...names].sort().filter((one) => one.startsWith(prefix)) : matching;
      expect(order.startingWith(prefix, { after })).toEqual(wanted);
      expect(order.startingWith(prefix, { after, limit })).toEqual(wanted.slice(0, limit));
    }),
  );
});
