import { copyFile, open, readFile, rename, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { findQemus, type QemuProcess } from "../harness/qemu-process.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { countOf } from "./matrix.ts";
import { carryThrough, carryToEnd } from "./patient-api.ts";
import { checkChain } from "./sound-chain.ts";
import { runInGuest, type Stage, setStage, subject, takeCheckpoint } from "./stage.ts";

const damages: Readonly<Record<string, (file: string) => Promise<void>>> = {
  truncated: async (file) => truncate(file, Math.floor((await stat(file)).size / 2)),
  altered: alterOneByte,
  missing: (file) => rm(file),
};

/** In the middle, where neither a header nor an end would give it away. */
async function alterOneByte(file: string): Promise<void> {
  const middle = Math.floor((await stat(file)).size / 2);
  await using handle = await open(file, "r+");
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, middle);
  await handle.write(Buffer.from([(buffer[0] ?? 0) ^ 0xff]), 0, 1, middle);
}

const each = ["disk", "RAM"].flatMap((file) => Object.keys(damages).map((damage) => ({ file, damage })));
const cases = Array.from({ length: Math.ceil(countOf("damage") / each.length) }, () => each).flat();

describe("F13: a checkpoint whose files are not what they were", () => {
  let stage: Stage;
  const run = faultRuns(() => stage.cluster);
  let checkpoint: { readonly name: string; readonly uid: string };
  beforeAll(async () => {
    stage = await setStage({});
    const { api } = stage.cluster;
    await runInGuest(stage.cluster, subject, "sh", "-c", "head -c 1000000 /dev/urandom >/data/noise && sync");
    const name = await takeCheckpoint(stage.cluster, subject, CheckpointType.STANDARD);
    checkpoint = await eventually(
      async () => {
        const found = await api.checkpoints.getCheckpoint({ name });
        return !JSON.stringify(found.receipt).includes("pending") && found;
      },
      { deadlineMs: 60_000 },
    );
    await stage.reset(); // now stands elsewhere: the damage does not reach the guest that runs
  }, 240_000);
  afterAll(() => stage[Symbol.asyncDispose](), 120_000);

  test.each(cases)("$file $damage: found before it is used, and the VM goes on", async ({ file, damage }) => {
    const qemu = await theQemu();
    const path = await pathOf(qemu, file);
    await copyFile(path, `${path}.kept`);
    try {
      await damages[damage]?.(path);
      run().fault(damage, file);
      const ended = await carryToEnd(stage.cluster, (requestId) =>
        stage.cluster.api.checkpoints.applyCheckpoint({ name: checkpoint.name, requestId }),
      );
      expect(ended.error).toMatchObject({ reason: "CHECKPOINT_DAMAGED" });
      expect(ended.error?.message).toContain(path.split("/").at(-1));
      expect(await theQemu()).toEqual(qemu);
      await runInGuest(stage.cluster, subject, "sh", "-c", "echo alive >/data/alive && sync");
    } finally {
      await rename(`${path}.kept`, path);
    }
    await checkChain(qemu);
    await checkInvariants(stage.cluster);
  });

  test("whole again, it is applied", async () => {
    await carryThrough(stage.cluster, (requestId) =>
      stage.cluster.api.checkpoints.applyCheckpoint({ name: checkpoint.name, requestId }),
    );
    expect(await runInGuest(stage.cluster, subject, "sh", "-c", "wc -c </data/noise")).toBe("1000000\n");
    await checkChain(await theQemu());
  });

  async function theQemu(): Promise<QemuProcess> {
    const [qemu] = await findQemus(stage.cluster.folder);
    if (qemu === undefined) throw new Error("no QEMU runs");
    return qemu;
  }

  async function pathOf({ folder }: QemuProcess, file: string): Promise<string> {
    if (file === "RAM") return join(folder, "checkpoints", checkpoint.uid, "ram.zst");
    const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as {
      checkpoints: Record<string, { layers: Record<string, string> }>;
    };
    return join(folder, "disks/root", `${manifest.checkpoints[checkpoint.uid]?.layers.root}.qcow2`);
  }
});
