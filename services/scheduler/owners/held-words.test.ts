import { expect, test } from "vitest";
import { Progress } from "#contracts/operation/v1/operation";
import type { Json, StoredRecord } from "#libs/records";
import { type HeldWordsDeps, wordsOn } from "./held-words.ts";

const workload = (id: string) => `projects/default/vms/${id}`;
const record = (uid: string, host: string, operation?: string) => ({ uid, body: { host }, operation });

test("a held workload goes on or starts, is ended, or waits for its recovery, as the records say", async () => {
  const records: Record<string, Partial<StoredRecord<Json>>> = {
    [workload("stays")]: record("vm-stays", "hosts/a"),
    [workload("busy")]: record("vm-busy", "hosts/a", "op-stop"),
    [workload("failed")]: record("vm-failed", "hosts/a", "op-failed"),
    [workload("forgotten")]: record("vm-forgotten", "hosts/a", "op-forgotten"),
    [workload("recovered")]: record("vm-recovered", "hosts/b"),
    [workload("made-again")]: record("vm-other", "hosts/a"),
    [workload("in-recovery")]: record("vm-in-recovery", "hosts/a", "op-recover"),
    [workload("found-back")]: record("vm-found-back", "hosts/a", "op-stay"),
    [workload("given-up")]: record("vm-given-up", "hosts/a", "op-undo"),
    [workload("cut-off")]: record("vm-cut-off", "hosts/a", "op-undo-switch"),
    [workload("come-here")]: record("vm-come-here", "hosts/a", "op-go-on"),
    [workload("leaving")]: record("vm-leaving", "hosts/a", "op-go-on"),
    [workload("coming")]: record("vm-coming", "hosts/b", "op-switch"),
    [workload("being-made")]: record("vm-being-made", "", "op-create"),
    [workload("just-made")]: record("vm-just-made", "", "op-created"),
    [workload("gone-for-good")]: record("vm-gone-for-good", "hosts/b", "op-failed"),
  };
  const at = (kind: string, step?: string) => ({
    kind,
    done: false,
    progress: step === undefined ? step : Progress.fromPartial({ step }),
  });
  const operations: Record<string, Awaited<ReturnType<HeldWordsDeps["readOperation"]>>> = {
    "op-stop": at("vm.stop", "stop"),
    "op-failed": { ...at("vm.recover"), done: true },
    "op-create": at("vm.create", "make"),
    "op-created": { ...at("vm.create"), done: true },
    "op-recover": at("vm.recover"),
    "op-switch": at("vm.recover", "switch"),
    "op-stay": at("vm.recover", "stay"),
    "op-undo": at("vm.recover", "undo bring"),
    "op-undo-switch": at("vm.recover", "undo switch"),
    "op-go-on": at("vm.recover", "go-on"),
  };
  let reads = 0;
  const deps = {
    readWorkload: async (name: string) => {
      // What has changed between two reads was not to be gone by.
      const version = /(just-made|leaving)$/.test(name) ? ++reads : 1;
      return records[name] && ({ ...records[name], name, version } as StoredRecord<Json>);
    },
    readDeleted: async (name: string) => (name.endsWith("/deleted") ? "vm-deleted" : undefined),
    readOperation: async (id: string) => operations[id],
  };
  const ids = ["stays", "busy", "failed", "forgotten", "recovered", "made-again", "in-recovery", "deleted", "lost"];
  ids.push(
    "being-made",
    "just-made",
    "gone-for-good",
    "found-back",
    "given-up",
    "come-here",
    "leaving",
    "coming",
    "cut-off",
  );
  const held = ids.map((id) => ({ uid: `vm-${id}`, workload: workload(id), epoch: 1 }));
  const words = await wordsOn(deps, { host: "hosts/a", held });
  expect(words.resumeUids.toSorted()).toEqual(
    ["being-made", "busy", "come-here", "failed", "forgotten", "found-back", "given-up", "stays"].map(
      (id) => `vm-${id}`,
    ),
  );
  expect(words.endUids.toSorted()).toEqual(["vm-deleted", "vm-gone-for-good", "vm-made-again", "vm-recovered"]);
});
