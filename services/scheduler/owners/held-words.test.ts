import { expect, test } from "vitest";
import type { Json, StoredRecord } from "#libs/records";
import { wordsOn } from "./held-words.ts";

const workload = (id: string) => `projects/default/vms/${id}`;
const record = (uid: string, host: string, operation?: string) => ({ uid, body: { host }, operation });

test("a held workload goes on, is ended, or waits for its recovery, as the records say", async () => {
  const records: Record<string, Partial<StoredRecord<Json>>> = {
    [workload("stays")]: record("vm-stays", "hosts/a"),
    [workload("busy")]: record("vm-busy", "hosts/a", "op-stop"),
    [workload("failed")]: record("vm-failed", "hosts/a", "op-failed"),
    [workload("forgotten")]: record("vm-forgotten", "hosts/a", "op-forgotten"),
    [workload("recovered")]: record("vm-recovered", "hosts/b"),
    [workload("made-again")]: record("vm-other", "hosts/a"),
    [workload("in-recovery")]: record("vm-in-recovery", "hosts/a", "op-recover"),
    [workload("being-made")]: record("vm-being-made", "", "op-create"),
    [workload("just-made")]: record("vm-just-made", "", "op-created"),
    [workload("gone-for-good")]: record("vm-gone-for-good", "hosts/b", "op-failed"),
  };
  const operations: Record<string, { kind: string; done: boolean }> = {
    "op-stop": { kind: "vm.stop", done: false },
    "op-failed": { kind: "vm.recover", done: true },
    "op-create": { kind: "vm.create", done: false },
    "op-created": { kind: "vm.create", done: true },
    "op-recover": { kind: "vm.recover", done: false },
  };
  let reads = 0;
  const deps = {
    readWorkload: async (name: string) => {
      const version = name.endsWith("/just-made") ? ++reads : 1;
      return records[name] && ({ ...records[name], name, version } as StoredRecord<Json>);
    },
    readDeleted: async (name: string) => (name.endsWith("/deleted") ? "vm-deleted" : undefined),
    readOperation: async (id: string) => operations[id],
  };
  const ids = ["stays", "busy", "failed", "forgotten", "recovered", "made-again", "in-recovery", "deleted", "lost"];
  ids.push("being-made", "just-made", "gone-for-good");
  const held = ids.map((id) => ({ uid: `vm-${id}`, workload: workload(id), epoch: 1 }));
  const words = await wordsOn(deps, { host: "hosts/a", held });
  expect(words.resumeUids.toSorted()).toEqual(["vm-busy", "vm-failed", "vm-forgotten", "vm-stays"]);
  expect(words.endUids.toSorted()).toEqual(["vm-deleted", "vm-gone-for-good", "vm-made-again", "vm-recovered"]);
});
