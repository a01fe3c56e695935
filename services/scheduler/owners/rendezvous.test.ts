import { expect, test } from "vitest";
import { ownerAmong } from "./rendezvous.ts";

const hosts = Array.from({ length: 5_000 }, (_, index) => `hosts/rack-${index % 40}-host-${index}`);
const replicas = ["a", "b", "c", "d"].map((id) => `schedulers/replica-0192f0c1-0000-7000-8000-00000000000${id}`);
const shareOf = (owner: string, among: readonly string[]) =>
  hosts.filter((host) => ownerAmong(among, host) === owner).length;

test("each replica owns about as many hosts as the others, whatever the order they are told in", () => {
  for (const replica of replicas) expect(shareOf(replica, replicas)).toBeGreaterThan(1_100);
  for (const host of hosts) expect(ownerAmong(replicas.toReversed(), host)).toBe(ownerAmong(replicas, host));
});

test("only the hosts of a replica that goes change hands, and each of the others gets a part of them", () => {
  const [gone = "", ...left] = replicas;
  for (const host of hosts) {
    const before = ownerAmong(replicas, host);
    if (before !== gone) expect(ownerAmong(left, host)).toBe(before);
  }
  for (const replica of left) expect(shareOf(replica, left) - shareOf(replica, replicas)).toBeGreaterThan(300);
});

test("without replicas nobody owns anything", () => {
  expect(ownerAmong([], "hosts/a")).toBeUndefined();
});
