import { expect, test } from "vitest";
import { excludedDisks, wrongExclusion } from "./exclusions.ts";

const disks = [
  { id: "disk1", excludeFromCheckpoints: false },
  { id: "disk2", excludeFromCheckpoints: true },
];

test("what always stays out and what was asked to, each once and with its reason", () => {
  expect(excludedDisks(disks, [])).toEqual([{ id: "disk2", why: "the VM's checkpoints leave it out" }]);
  expect(excludedDisks(disks, ["disk2", "disk1"])).toEqual([
    { id: "disk1", why: "it was asked to be left out" },
    { id: "disk2", why: "the VM's checkpoints leave it out" },
  ]);
  expect(excludedDisks([], [])).toEqual([]);
});

test.each([
  { asked: [], says: undefined },
  { asked: ["disk1", "disk1"], says: undefined },
  { asked: ["root"], says: "the root disk cannot be left out" },
  { asked: ["disk3"], says: 'there is no disk "disk3": it has disk1, disk2' },
  { asked: [""], says: 'there is no disk "": it has disk1, disk2' },
])("asked to leave out $asked: $says", ({ asked, says }) => expect(wrongExclusion(disks, asked)).toBe(says));

test("a VM without additional disks has none to leave out", () => {
  expect(wrongExclusion([], ["disk1"])).toBe('there is no disk "disk1": it has no additional disk');
});
