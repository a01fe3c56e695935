import { describe, expect, test } from "vitest";
import { WorkloadManifest } from "#contracts/host/v1/agent";
import type { HostInventory, Known, KnownRecord } from "./known.ts";
import { planRebuild } from "./plan.ts";

const uidOf = (n: number) => `vm-00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;
const checkpointUid = "ckpt-00000000-0000-7000-8000-000000000001";
const web = "projects/default/vms/web";
const now = new Date("2026-11-23T00:00:00Z");

const record = (name: string, version: number, body: object, rest: Partial<KnownRecord> = {}): KnownRecord => {
  return { name, uid: uidOf(1), version, deleted: false, body: { ...body }, ...rest };
};
const vmRecord = (version: number, rest: Partial<KnownRecord> = {}, body: object = {}) =>
  record(
    web,
    version,
    { name: web, uid: uidOf(1), host: "hosts/n1", state: "VM_STATE_STOPPED", labels: { a: "b" }, ...body },
    rest,
  );
const kept = ({ name, uid, version, body }: KnownRecord) => {
  return {
    name,
    version,
    deleted: false,
    message: Buffer.from(JSON.stringify({ name, uid, previous: 0, events: [], body })),
  };
};

interface There {
  readonly uid?: string;
  readonly epoch?: number;
  readonly name?: string;
  readonly records?: readonly KnownRecord[];
  readonly checkpoints?: readonly string[];
}

const manifest = ({ uid = uidOf(1), epoch = 5, name = web, records = [], checkpoints = [] }: There = {}) =>
  WorkloadManifest.fromPartial({
    workload: { uid, name, epoch, state: "WORKLOAD_STATE_RUNNING", head: checkpoints[0] ?? "" },
    definition: {
      $case: "vm",
      value: { name, uid, cpus: 2, memoryBytes: 2 ** 28, disks: [{ id: "root", sizeBytes: 512 }] },
    },
    imageDigest: "linux@sha256:1",
    generationId: "gen",
    checkpoints: checkpoints.map((checkpoint) => ({ uid: checkpoint, parent: "", kind: "standard" })),
    records: records.map(kept),
  });
const host = (id: string, ...workloads: WorkloadManifest[]): HostInventory => {
  return { host: `hosts/${id}`, answered: true, workloads, records: [] };
};
const silent = (id: string): HostInventory => ({ ...host(id), answered: false });
const byName = (...records: KnownRecord[]) => new Map(records.map((one) => [one.name, one]));

function plan(known: Partial<Known>) {
  const base = { hosts: [], current: new Map(), backup: undefined, replace: false, now };
  const { writes, findings } = planRebuild({ ...base, isUnfinished: () => false, ...known });
  return {
    findings: findings.map(({ action, name, uid, host }) => [action, name, uid, host].filter(Boolean).join(" ")),
    names: writes.map(({ name }) => name),
    bodyOf: (name: string) => writes.find((write) => write.name === name)?.body,
    writes,
  };
}

describe("a workload whose record is gone", () => {
  test("comes back as its host kept it, with what is there now, before what is below it, and its place in the ledger", () => {
    const records = [
      vmRecord(7),
      record(`${web}/checkpoints/${checkpointUid}`, 8, { displayName: "x" }, { uid: checkpointUid }),
    ];
    const { findings, names, bodyOf } = plan({
      hosts: [host("n1", manifest({ records, checkpoints: [checkpointUid] }))],
    });
    expect(findings).toEqual([`rebuilt ${web} ${uidOf(1)} hosts/n1`]);
    expect(names).toEqual([web, `${web}/checkpoints/${checkpointUid}`, `${web}/head`, "hosts/n1/ledger"]);
    expect(bodyOf(web)).toMatchObject({ labels: { a: "b" }, state: "VM_STATE_RUNNING", host: "hosts/n1" });
    expect(bodyOf(`${web}/checkpoints/${checkpointUid}`)).toMatchObject({ displayName: "x", host: "hosts/n1" });
    expect(bodyOf(`${web}/head`)).toMatchObject({ parent: checkpointUid, generationId: "gen" });
  });

  test("comes back from its definition and files alone, which is told", () => {
    const { findings, bodyOf } = plan({ hosts: [host("n1", manifest({ checkpoints: [checkpointUid] }))] });
    expect(findings).toHaveLength(2);
    expect(bodyOf(web)).toMatchObject({
      uid: uidOf(1),
      spec: { cpus: 2, image: "linux@sha256:1" },
      state: "VM_STATE_RUNNING",
    });
    expect(bodyOf(`${web}/checkpoints/${checkpointUid}`)).toMatchObject({
      ...{ consistency: "CONSISTENCY_SAVED_STATE", reason: "record.lost", state: "CHECKPOINT_STATE_READY" },
    });
    expect(bodyOf("hosts/n1/ledger")).toMatchObject({ reservations: [{ uid: uidOf(1), workload: web }] });
  });

  test("is the newer of what its host and a backup have", () => {
    const records = [vmRecord(7)];
    const backup = byName(vmRecord(9, {}, { labels: { newer: "yes" } }));
    const { findings, bodyOf } = plan({ hosts: [host("n1", manifest({ records }))], backup });
    expect(findings).toEqual([`restored ${web} ${uidOf(1)} hosts/n1`]);
    expect(bodyOf(web)).toMatchObject({ labels: { newer: "yes" }, state: "VM_STATE_RUNNING" });
  });
});

describe("a conflict", () => {
  test("of one uid on two hosts goes to the highest epoch, whatever its record says", () => {
    const [old, moved] = [manifest({ epoch: 5, records: [vmRecord(7)] }), manifest({ epoch: 9 })];
    const { findings, bodyOf } = plan({ hosts: [host("n1", old), host("n2", moved)] });
    expect(findings).toContain(`quarantined ${web} ${uidOf(1)} hosts/n1`);
    expect(bodyOf(web)).toMatchObject({ host: "hosts/n2" });
    expect(bodyOf(`hosts/n1/quarantine/${uidOf(1)}`)).toMatchObject({ reason: "uid.twice", workload: web, epoch: 5 });
    expect(bodyOf("hosts/n1/ledger")).toMatchObject({
      reservations: [{ workload: `hosts/n1/quarantine/${uidOf(1)}` }],
    });
  });

  test("of one name on two hosts goes to the highest epoch", () => {
    const [older, newer] = [manifest({ epoch: 5 }), manifest({ uid: uidOf(2), epoch: 9 })];
    const { findings, bodyOf } = plan({ hosts: [host("n1", older), host("n2", newer)] });
    expect(findings).toContain(`quarantined ${web} ${uidOf(1)} hosts/n1`);
    expect(bodyOf(web)).toMatchObject({ uid: uidOf(2), host: "hosts/n2" });
  });

  test("with a record that stands goes to that record, unless it is to be replaced", () => {
    const hosts = [host("n1", manifest({ epoch: 9 })), host("n2", manifest({ uid: uidOf(2), epoch: 5 }))];
    const current = byName(
      vmRecord(3, { uid: uidOf(2) }, { uid: uidOf(2), host: "hosts/n2", state: "VM_STATE_RUNNING" }),
    );
    expect(plan({ hosts, current }).findings).toEqual([`quarantined ${web} ${uidOf(1)} hosts/n1`]);
    const replaced = plan({ hosts, current, backup: new Map(), replace: true });
    expect(replaced.bodyOf(web)).toMatchObject({ uid: uidOf(1), host: "hosts/n1" });
    expect(replaced.writes.find(({ name }) => name === web)?.over).toBe(3);
  });

  test("with a tombstone puts the files aside, and nothing deletes them", () => {
    const current = byName(vmRecord(11, { deleted: true }));
    const { findings, names } = plan({ hosts: [host("n1", manifest({ records: [vmRecord(7)] }))], current });
    expect(findings).toEqual([`quarantined ${web} ${uidOf(1)} hosts/n1`]);
    expect(names).not.toContain(web);
  });

  test("that was told already is told again, and written once", () => {
    const hosts = [host("n1", manifest({ epoch: 5 })), host("n2", manifest({ epoch: 9 }))];
    const first = plan({ hosts });
    const current = byName(
      ...first.writes.map((write, n) => record(write.name, n + 1, write.body ?? {}, { uid: write.uid })),
    );
    const second = plan({ hosts, current });
    expect(second.findings).toEqual([`quarantined ${web} ${uidOf(1)} hosts/n1`]);
    expect(second.writes).toEqual([]);
  });
});

test("a conflict that is over leaves nothing of itself, and its workload gets its place in the ledger", () => {
  const name = `hosts/n1/quarantine/${uidOf(1)}`;
  const reservations = [{ uid: uidOf(1), workload: name }];
  const current = byName(record(name, 3, {}), record("hosts/n1/ledger", 4, { name: "hosts/n1/ledger", reservations }));
  const { findings, bodyOf, writes } = plan({ hosts: [host("n1", manifest())], current });
  expect(findings).toEqual([`rebuilt ${web} ${uidOf(1)} hosts/n1`, `removed ${name} ${uidOf(1)}`]);
  expect(writes.find((write) => write.name === name)?.body).toBeUndefined();
  expect(bodyOf("hosts/n1/ledger")).toMatchObject({ reservations: [{ uid: uidOf(1), workload: web }] });
});

describe("what cannot be had", () => {
  test("a host that does not answer is told, and its workloads are as the backup has them", () => {
    const backup = byName(vmRecord(7), record(`${web}/head`, 8, { parent: "" }));
    const { findings, names, bodyOf } = plan({ hosts: [silent("n1")], backup });
    expect(findings).toEqual(["unreachable hosts/n1 hosts/n1", `restored ${web} ${uidOf(1)} hosts/n1`]);
    expect(names).toEqual([web, `${web}/head`, "hosts/n1/ledger"]);
    expect(bodyOf(web)?.stateReason).toContain("does not answer");
  });

  test("a workload that a silent host may run is not taken to another", () => {
    const current = byName(vmRecord(7));
    const { findings, writes } = plan({ hosts: [silent("n1"), host("n2", manifest({ epoch: 3 }))], current });
    expect(findings).toEqual(["unreachable hosts/n1 hosts/n1", `skipped ${web} ${uidOf(1)} hosts/n2`]);
    expect(writes.map(({ name }) => name)).not.toContain(web);
  });

  test("what the backup has and no host is lost, and said to be so with where it was pushed to", () => {
    const gone = record(
      `${web}/checkpoints/${checkpointUid}`,
      8,
      { workloadUid: uidOf(1), pushed: [{ reference: "c:1" }] },
      { uid: checkpointUid },
    );
    const other = "projects/default/vms/other";
    const backup = byName(vmRecord(7), gone, record(other, 9, { host: "hosts/n1" }, { uid: uidOf(3) }));
    const { findings, names } = plan({ hosts: [host("n1", manifest())], backup });
    expect(findings).toContain(`lost ${other} ${uidOf(3)} hosts/n1`);
    expect(findings).toContain(`lost ${gone.name} ${checkpointUid} hosts/n1`);
    expect(names).not.toContain(other);
    expect(names).not.toContain(gone.name);
  });
});

describe("what stands", () => {
  const current = byName(vmRecord(7, {}, { state: "VM_STATE_RUNNING" }));

  test("and is right is left as it is", () => {
    const hosts = [host("n1", manifest())];
    const { writes } = plan({ hosts, current });
    expect(writes.map(({ name }) => name)).toEqual(["hosts/n1/ledger"]);
  });

  test("gets what its host says, unless an operation holds it", () => {
    const wrong = byName(vmRecord(7, { operation: "op-1" }));
    const hosts = [host("n1", manifest())];
    expect(plan({ hosts, current: wrong, isUnfinished: () => true }).findings).toEqual([
      `skipped ${web} ${uidOf(1)} hosts/n1`,
    ]);
    const { findings, bodyOf } = plan({ hosts, current: wrong });
    expect(findings).toEqual([`changed ${web} ${uidOf(1)} hosts/n1`]);
    expect(bodyOf(web)).toMatchObject({ state: "VM_STATE_RUNNING", labels: { a: "b" } });
  });

  test("goes with replace where neither backup nor hosts know it; repositories stay, which the store has", () => {
    const names = [web, "projects/default/schedules/nightly", "projects/default/repositories/a"];
    const standing = byName(...names.map((name, n) => record(name, n + 1, {})));
    const { writes } = plan({ current: standing, backup: new Map(), replace: true });
    expect(writes.map(({ name, body }) => [name, body])).toEqual(names.slice(0, 2).map((name) => [name, undefined]));
  });
});

test("of what belongs to no workload the newest counts, a tombstone too; hosts come back as unknown, never as down", () => {
  const [nightly, weekly] = ["nightly", "weekly"].map((id) => `projects/default/schedules/${id}`) as [string, string];
  const gone = record(weekly, 9, {}, { deleted: true });
  const hosts = [{ ...host("n1"), records: [record(nightly, 5, { cron: "kept" }), gone] }, silent("n2")];
  const backup = byName(
    ...[record(nightly, 4, { cron: "old" }), record(weekly, 4, {}), record("schedulers/r1", 3, {})],
    ...[record("hosts/n1", 2, { cordoned: true }), record("hosts/n2", 2, { state: "HOST_STATE_DOWN" })],
  );
  const current = byName(record("hosts/n1", 20, { state: "HOST_STATE_READY" }));
  const { names, bodyOf } = plan({ hosts, backup, current });
  expect(names.toSorted()).toEqual(["hosts/n1", "hosts/n2", nightly]);
  expect(bodyOf(nightly)).toEqual({ cron: "kept" });
  expect(bodyOf("hosts/n2")).toMatchObject({ state: "HOST_STATE_UNSPECIFIED" });
  expect(bodyOf("hosts/n1")).toMatchObject({ cordoned: true, state: "HOST_STATE_CORDONED" });
});
