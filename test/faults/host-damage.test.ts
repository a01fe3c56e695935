import { copyFile, open, readFile, rename, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BackupItem } from "#contracts/operation/v1/admin";
import { BackupCounts, verifyBackup, writeBackup } from "#libs/backup";
import { eventually, temporaryFolder } from "#libs/testing";
import { LeaseStage } from "../../services/agent/testing/lease-stage.ts";
import { type FaultRun, faultRuns } from "./fault-run.ts";
import { countOf } from "./matrix.ts";

/** A quarter of them for each kind of file of a host; backups are looked at as often as all of them. */
const rounds = Math.ceil(countOf("hostDamage") / 4);
const timeout = 1_800_000;

describe("F13: files of a host that are not what was written", () => {
  let stage: LeaseStage;
  let pid: number;
  const run = faultRuns();
  beforeAll(async () => {
    stage = await LeaseStage.open();
    ({ pid } = await stage.workload());
  }, 120_000);
  afterAll(() => stage[Symbol.asyncDispose](), 60_000);

  const fileOf = (name: string) => join(stage.data, "workloads", stage.vm.uid, name);

  /** The agent finds the file damaged when it starts; with the file as it was, it goes on with what ran all along. */
  async function startWithDamaged(path: string, damage: Damage, look: () => Promise<void>): Promise<void> {
    await stage.agent.end("SIGKILL");
    await copyFile(path, `${path}.kept`);
    run().fault(await damage(path, run()), path);
    const damaged = await readFile(path);
    try {
      await look();
      // For whoever wants to mend it.
      expect(await readFile(path)).toEqual(damaged);
    } finally {
      await stage.agent.end("SIGKILL");
      await rename(`${path}.kept`, path);
      await stage.agent.start();
    }
    await run().recovers("the guest answers", stage.guestAnswers);
    expect((await stage.workload()).pid).toBe(pid);
  }

  test.for(["manifest.json", "spec.json"])("a VM's %s: the VM is not known, and runs on", { timeout }, async (name) => {
    for (let round = 0; round < rounds; round++) {
      await startWithDamaged(fileOf(name), round % 2 === 0 ? alter : cut, async () => {
        await stage.agent.start();
        await expect(stage.workload()).rejects.toMatchObject({ reason: "WORKLOAD_NOT_FOUND" });
        expect(() => process.kill(pid, 0)).not.toThrow();
      });
    }
  });

  test("the journal of its steps: no step is done by it", { timeout }, async () => {
    const path = join(stage.data, "journals", `${stage.vm.uid}.jsonl`);
    for (let round = 0; round < rounds; round++) {
      await startWithDamaged(path, alter, async () => {
        await stage.agent.start();
        await expect(stage.workload()).rejects.toMatchObject({ reason: "WORKLOAD_NOT_FOUND" });
        const { uid } = stage.vm;
        const fenced = stage.agent.host.client.fence({ uid, epoch: 2 ** 40, operation: "operations/op-new" });
        await expect(fenced).rejects.toMatchObject({ reason: "FILE_DAMAGED" });
      });
    }
  });

  test("the highest epoch of an owner: no agent starts that does not know whom to believe", { timeout }, async () => {
    const path = join(stage.data, "lease.json");
    for (let round = 0; round < rounds; round++) {
      await startWithDamaged(path, round % 2 === 0 ? alter : cut, async () => {
        const starting = stage.agent.start();
        starting.catch(() => undefined);
        await eventually(async () => (await Promise.race([stage.agent.ended, starting.then(() => "it runs")])) === "1");
      });
    }
  });

  test("backups: none is taken for whole", { timeout }, async () => {
    await using folder = temporaryFolder();
    const path = join(folder.path, "backup");
    await writeBackup(path, backupOf(200), { signal: new AbortController().signal });
    const whole = await readFile(path);
    const written = await verifyBackup(path);
    for (let round = 0; round < 4 * rounds; round++) {
      await writeFile(path, whole);
      const how = round % 2 === 0 ? alter : cut;
      run().fault(await how(path, run()), "backup");
      const refused = expect(verifyBackup(path)).rejects.toMatchObject({ reason: "BACKUP_DAMAGED" });
      // zstd has bits that say nothing: all is as it was written then.
      await (how === cut ? refused : refused.catch(async () => expect(await verifyBackup(path)).toEqual(written)));
    }
  });
});

/** Gives what it has done. */
type Damage = (path: string, run: FaultRun) => Promise<string>;

/** One bit somewhere. */
const alter: Damage = async (path, run) => {
  const at = Math.floor(run.between(0, (await stat(path)).size));
  await using handle = await open(path, "r+");
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at);
  await handle.write(Buffer.from([(buffer[0] ?? 0) ^ (1 << Math.floor(run.between(0, 8)))]), 0, 1, at);
  return "altered bit";
};

const cut: Damage = async (path, run) => {
  await truncate(path, Math.floor(run.between(0, (await stat(path)).size)));
  return "truncation";
};

async function* backupOf(count: number) {
  const counts = new BackupCounts();
  const head = { format: "stillpoint.backup.v1", stillpointVersion: "0.1.0" };
  yield BackupItem.fromPartial({ item: { $case: "header", value: head } });
  for (let n = 1; n <= count; n++) {
    const value = { stream: "REC", sequence: n, subject: `rec.a.${n}`, time: undefined, data: Buffer.alloc(n, n) };
    counts.add(value);
    yield BackupItem.fromPartial({ item: { $case: "message", value } });
  }
  yield BackupItem.fromPartial({ item: { $case: "trailer", value: { counts: counts.counts() } } });
}
