import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, foldDigests, isSealed, sealReceipt, summaryOf, type Verdict, writeReceipt } from "./receipt.ts";

const hash = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const gathered = {
  checkpointUid: "ckpt-1",
  workload: "projects/default/vms/web-1",
  workloadUid: "vm-1",
  parent: "",
  evidence: {
    freeze: { count: 2, thawCount: 2, windowMs: 140, writers: [{ name: "redis", state: "thawed", ms: 12 }] },
    disks: [
      { id: "root", included: true, bytes: 100 },
      { id: "seed", included: false, why: "read-only" },
    ],
    ram: { bytes: 5 },
  },
  excluded: [{ id: "disk2", why: "it was asked to be left out" }],
};
const verdict: Verdict = {
  requestedType: "production",
  kind: "standard",
  consistency: "saved-state",
  fellBack: true,
  cause: { code: "agent.absent", detail: "no answer in 3 s" },
};
const receipt = sealReceipt(writeReceipt(verdict, gathered), hash);

describe("a receipt", () => {
  test("has every key, with null where there is no evidence", () => {
    expect(Object.keys(receipt).toSorted()).toEqual(
      [
        ["checkpoint", "consistency", "detail", "digest", "disks", "fellBack", "freeze", "kind", "machine", "parent"],
        ["pauseMs", "ram", "reason", "refused", "requestedType", "summary", "timeline", "verification", "version"],
        ["workload", "workloadUid"],
      ].flat(),
    );
    expect(receipt).toMatchObject({ version: 1, reason: "agent.absent", pauseMs: null, verification: null });
  });
  test("marks digests of included files as pending", () => {
    expect(receipt).toMatchObject({ ram: { bytes: 5, digest: "pending" }, disks: [{ digest: "pending" }, {}, {}] });
    expect(receipt.disks).toHaveProperty("1", { id: "seed", included: false, why: "read-only" });
  });
  test("lists each disk that was left out, and why, once", () => {
    const left = { id: "disk2", included: false, why: "it was asked to be left out" };
    expect(receipt.disks).toHaveProperty("2", left);
    const disks = [...gathered.evidence.disks, { id: "disk2", included: false }];
    const again = writeReceipt(verdict, { ...gathered, evidence: { ...gathered.evidence, disks } });
    expect(again.disks).toEqual(receipt.disks);
  });
  test("says in one sentence what was asked for, what came of it and why", () => {
    expect(receipt.summary).toBe("asked for production, got standard, because agent.absent: no answer in 3 s");
    const { cause: _cause, ...whole } = verdict;
    expect(summaryOf({ ...whole, kind: "production", fellBack: false })).toBe("asked for production, got production");
    const crash = { kind: "production", consistency: "crash", cause: { code: "vm.crashed", detail: "" } } as const;
    expect(summaryOf({ ...verdict, ...crash })).toBe(
      "asked for production, got production that is only crash consistent, because vm.crashed",
    );
  });
  test("shows when a word of it was changed", () => {
    expect(isSealed(receipt, hash)).toBe(true);
    expect(isSealed({ ...receipt, consistency: "application" }, hash)).toBe(false);
  });
  test("takes digests in, and its own changes with them", () => {
    const folded = sealReceipt(foldDigests(receipt, { root: "sha256:aa", ram: "sha256:bb" }), hash);
    expect(folded).toMatchObject({ disks: [{ digest: "sha256:aa" }, {}, {}], ram: { digest: "sha256:bb" } });
    expect(folded.digest).not.toBe(receipt.digest);
    expect(isSealed(folded, hash)).toBe(true);
  });
  test("keeps what a digest says nothing about", () => {
    expect(foldDigests(receipt, { unknown: "sha256:cc" })).toEqual(receipt);
  });
});

test("canonical JSON does not depend on the order of keys and reads back as it was", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (document) => {
      const reversed = Object.fromEntries(Object.entries(document).toReversed());
      expect(canonicalJson(reversed)).toBe(canonicalJson(document));
      expect(JSON.parse(canonicalJson(document))).toEqual(JSON.parse(JSON.stringify(document)));
    }),
  );
});

test("folding digests twice is folding them once", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom("root", "seed", "ram", "x"), fc.string()), (digests) => {
      const once = foldDigests(receipt, digests);
      expect(foldDigests(once, digests)).toEqual(once);
    }),
  );
});
