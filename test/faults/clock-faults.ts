import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { eventually } from "#libs/testing";
import { isStopped } from "../../services/agent/testing/process-state.ts";
import { emptyImage } from "../harness/empty-image.ts";
import { findQemus } from "../harness/qemu-process.ts";
import type { WallClocks } from "../harness/wall-clocks.ts";
import type { FaultRun } from "./fault-run.ts";

import type { ReplicaStage } from "./replica-stage.ts";

const parent = "projects/default";
const hourMs = 3_600_000;
const jumps = [
  ["clock an hour ahead", { aheadMs: hourMs }],
  ["clock an hour behind", { aheadMs: -hourMs }],
  ["clock twice as fast", { rate: 2 }],
  ["clock that runs backwards", { rate: -1 }],
] as const;

/** A process's clock is wrong for a while, and is set right again. */
export async function jumpOne({ processes }: ReplicaStage, clocks: WallClocks, faults: FaultRun): Promise<void> {
  await sleep(faults.between(200, 1_000));
  const name = faults.pick([...processes.keys()]);
  const [kind, clock] = faults.pick(jumps);
  faults.fault(kind, name);
  await clocks.set(name, clock);
  await sleep(faults.between(1_000, 4_000));
  await clocks.set(name);
}

/** A VM that may run within its host's lease only, and of which points are taken; what clocks must not disturb. */
export class LeasedVm {
  readonly name = `${parent}/vms/leased`;
  readonly #stage: ReplicaStage;

  constructor(stage: ReplicaStage) {
    this.#stage = stage;
  }

  async make(): Promise<void> {
    const { api } = this.#stage;
    const sizes = { image: emptyImage, cpus: 1, memoryBytes: 64 * 2 ** 20 };
    const spec = { ...sizes, recovery: "RECOVERY_RESTART", recoveryPoint: { seconds: 3_600, nanos: 0 } } as const;
    await api.finish(await api.vms.createVm({ parent, vmId: "leased", spec, start: true }));
  }

  /** Points are taken when an hour seems to have passed, and also when what was taken last seems to lie an hour ahead. */
  async hasPointsTaken(clocks: WallClocks, faults: FaultRun): Promise<void> {
    const keepers = ["checkpoint-1", "checkpoint-2"];
    for (const [kind, aheadMs] of [
      ["clock an hour ahead", hourMs + 60_000],
      ["clock set back by an hour", 0],
    ] as const) {
      const before = await this.#point();
      for (const name of keepers) {
        faults.fault(kind, name);
        await clocks.set(name, { aheadMs });
      }
      await faults.recovers("a recovery point", async () => (await this.#point()) !== before);
    }
  }

  async process(): Promise<number> {
    const { uid } = await this.#stage.api.vms.getVm({ name: this.name });
    const qemus = await Promise.all(this.#stage.agentFolders.map((folder) => findQemus(folder)));
    return qemus.flat().find(({ folder }) => folder.includes(uid))?.pid ?? 0;
  }

  /** The same process as before goes on. */
  async goesOn(pid: number): Promise<void> {
    await eventually(async () => !(await isStopped(pid)), { deadlineMs: 15_000 });
    expect(await this.process()).toBe(pid);
  }

  async remove(): Promise<void> {
    const { api } = this.#stage;
    const gone = { name: this.name, force: true, withCheckpoints: true, withProtected: true };
    await eventually(async () => (await api.vms.getVm({ name: this.name })).operation === "", { deadlineMs: 30_000 });
    await api.finish(await api.vms.deleteVm(gone));
  }

  async #point(): Promise<string> {
    const { recoveryPoint } = await this.#stage.api.vms.getVm({ name: this.name });
    return recoveryPoint?.reference ?? "";
  }
}
