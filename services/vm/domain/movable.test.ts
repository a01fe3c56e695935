import { expect, test } from "vitest";
import { whyBound } from "./movable.ts";

const disk = { id: "disk1", excludeFromCheckpoints: false };
const free = { host: "", disks: [disk] };

test("a VM with disks of its own may go anywhere", () => {
  expect(whyBound(free, 0)).toBeUndefined();
});

test.each([
  ["it has to be on hosts/n1", { ...free, host: "hosts/n1" }, 0],
  ["its disk disk1 is of no checkpoint", { ...free, disks: [{ ...disk, excludeFromCheckpoints: true }] }, 0],
  ["checkpoints stay on their host, and it has 2", free, 2],
])("%s", (why, spec, checkpoints) => {
  expect(whyBound(spec, checkpoints)).toContain(why);
});
