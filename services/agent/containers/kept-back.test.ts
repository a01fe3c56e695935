import { describe, expect, test } from "vitest";
import { KeptBack } from "./kept-back.ts";

/** Time that passes when it is told to. */
function world() {
  const due: (() => void)[] = [];
  const sleep = (_ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      due.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  const told: string[] = [];
  const news = new KeptBack({ sleep });
  const keep = (uid: string) => news.keep(uid, 500, async () => void told.push(uid));
  return {
    news,
    told,
    keep,
    pass: () =>
      due.splice(0).forEach((resolve) => {
        resolve();
      }),
  };
}

describe("news that is kept back", () => {
  test("is told when its time has come", async () => {
    const { news, told, keep, pass } = world();
    keep("a");
    expect(news.has("a")).toBe(true);
    expect(told).toEqual([]);
    pass();
    await expect.poll(() => news.has("a")).toBe(false);
    expect(told).toEqual(["a"]);
  });

  test("is told at once where there is a reason to, and once", async () => {
    const { news, told, keep, pass } = world();
    keep("a");
    keep("b");
    await news.tellNow("a");
    expect(told).toEqual(["a"]);
    pass();
    await news.tellNow("b");
    await news.tellNow("a");
    expect(told).toEqual(["a", "b"]);
  });

  test("is told before its keeper closes", async () => {
    const { news, told, keep } = world();
    keep("a");
    await news.close();
    expect(told).toEqual(["a"]);
  });
});
