import { expect, test } from "vitest";
import { vmRequirements } from "#libs/workloads";
import { nameDisks, rootSize } from "./build-plan.ts";

test("the root disk is as large as the image unless more was asked for, and never smaller", () => {
  expect(rootSize(0, 1024)).toBe(1024);
  expect(rootSize(2048, 1024)).toBe(2048);
  expect(rootSize(512, 1024)).toBeUndefined();
});

test("a host has to hold all disks whole, and the ports", () => {
  const disks = nameDisks([{ sizeBytes: 10 }, { sizeBytes: 20 }]);
  expect(disks.map(({ id }) => id)).toEqual(["disk1", "disk2"]);
  const spec = {
    cpus: 2,
    memoryBytes: 5,
    rootSizeBytes: 100,
    disks,
    ports: [{ hostPort: 80 }],
    hostSelector: {},
    host: "hosts/n1",
  };
  expect(vmRequirements(spec)).toMatchObject({
    cpus: 2,
    memoryBytes: 5,
    diskBytes: 130,
    hostPorts: [80],
    host: "hosts/n1",
  });
});
