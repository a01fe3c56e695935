import { expect, test } from "vitest";
import { withOrigin } from "./origin.ts";
import { isSealed, sealReceipt } from "./receipt.ts";

test("a receipt keeps its evidence and tells the way that it has come", () => {
  const hash = (text: string) => `hash:${text}`;
  const receipt = sealReceipt({ version: 1, workload: "projects/a/vms/web", freeze: { count: 2 } }, hash);
  const receivedTime = new Date("2026-03-01T09:05:00Z");
  const clone = withOrigin(
    receipt,
    { origin: "web/first", receivedTime, name: "projects/a/vms/b/checkpoints/1" },
    hash,
  );
  const pulled = withOrigin(
    clone,
    { origin: "checkpoints/b:1", receivedTime, name: "projects/a/vms/c/checkpoints/2" },
    hash,
  );
  expect(pulled).toMatchObject({
    workload: "projects/a/vms/web",
    freeze: { count: 2 },
    received: [
      { origin: "web/first", as: "projects/a/vms/b/checkpoints/1", time: "2026-03-01T09:05:00.000Z" },
      { origin: "checkpoints/b:1", as: "projects/a/vms/c/checkpoints/2" },
    ],
  });
  expect(isSealed(pulled, hash)).toBe(true);
});
