import { expect, test } from "vitest";
import type { LogMessage } from "#libs/records";
import { hasMoved, keepersOf, recordSets, toKept } from "./sets.ts";

const message = (name: string, sequence: number, rest: object = {}): LogMessage => {
  const data = Buffer.from(JSON.stringify({ name, uid: "u", previous: 0, events: [], body: {}, ...rest }));
  return { subject: `rec.${name.replaceAll("/", ".")}`, sequence, time: new Date(0), data };
};
const web = "projects/default/vms/web";

test("records of a workload go together, each in its newest state; others go alone", () => {
  const nightly = "projects/default/schedules/nightly";
  const all = [message(web, 1), message(`${web}/head`, 2), message(web, 3), message(nightly, 4), message(`${web}s`, 5)];
  const sets = recordSets(all).map(({ workload, messages }) => [workload, ...messages.map(({ sequence }) => sequence)]);
  expect(sets).toEqual([
    [web, 3, 2],
    [undefined, 4],
    [`${web}s`, 5],
  ]);
});

test("three hosts keep what belongs to none, mostly the same three when one comes or goes", () => {
  const hosts = Array.from({ length: 20 }, (_, n) => `hosts/n${n}`);
  const keepers = keepersOf("projects/a", hosts);
  expect(keepers).toHaveLength(3);
  expect(keepersOf("projects/a", hosts.toReversed())).toEqual(keepers);
  const left = hosts.filter((host) => host !== keepers[0]);
  expect(keepersOf("projects/a", left).slice(0, 2)).toEqual(keepers.slice(1));
});

test("a move is told by its event, a tombstone is kept as one", () => {
  expect(hasMoved(message(web, 1, { events: [{ aggregate: "vm", happened: "moved", data: {} }] }))).toBe(true);
  expect(hasMoved(message(web, 1))).toBe(false);
  expect(toKept(message(web, 7, { deleted: true }))).toMatchObject({ name: web, version: 7, deleted: true });
});
