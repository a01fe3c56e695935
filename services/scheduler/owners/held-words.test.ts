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
  };
  const operations: Record<string, { kind: string; done: boolean }> = {
    "op-stop": { kind: "vm.stop", done: false },
    "op-failed": { kind: "vm.recover", done: true },
    "op-recover": { kind: "vm.recover", done: false },
  };
  const deps = {
    readWorkload: async (name: string) => records[name] as StoredRecord<Json> | undefined,
    readDeleted: async (name: string) => (name.endsWith("/deleted") ? "vm-deleted" : undefined),
    readOperation: async (id: string) => operations[id],
  };
  const ids = ["stays", "busy", "failed", "forgotten", "recovered", "made-again", "in-recovery", "deleted", "lost"];
  const held = ids.map((id) => ({ uid: `vm-${id}`, workload: workload(id), epoch: 1 }));
  const words = await wordsOn(deps, { host: "hosts/a", held });
  expect(words.resumeUids.toSorted()).toEqual(["vm-busy", "vm-failed", "vm-forgotten", "vm-stays"]);
  expect(words.endUids.toSorted()).toEqual(["vm-deleted", "vm-made-again", "vm-recovered"]);
});
