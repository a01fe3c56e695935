import { createReadStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createZstdDecompress } from "node:zlib";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { connectUnix } from "../../services/agent/qemu/socket.ts";
import { findQemus, type QemuProcess } from "../harness/qemu-process.ts";
import { openBareGuest } from "./bare-guest.ts";
import { openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";
import { nameOf } from "./checkpoint-client.ts";

const rounds = 9;

/** From asking for a standard checkpoint to the guest's agent answering, in turn with a bare `-incoming` of the same RAM. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openBenchStage();
  await stage.boot("bench-1");
  const { api, product } = stage;
  const { name, uid } = await api.take("bench-1", CheckpointType.STANDARD);
  const apply = async () => {
    await api.finish(await api.checkpoints.applyCheckpoint({ name }));
    for await (const _ of api.vms.execVm({ name: nameOf("bench-1"), command: ["true"] }));
  };
  await apply();
  const found: { bare: number[]; product: number[] } = { bare: [], product: [] };
  for (let round = 0; round < rounds; round++) {
    found.product.push(await timed(apply));
    const [qemu] = await findQemus(product.folder);
    if (qemu === undefined) throw new Error("the VM's QEMU is not there");
    await product.json("vm", "stop", "bench-1", "--force");
    found.bare.push(await timed(() => bareIncoming(qemu, join(qemu.folder, "checkpoints", uid, "ram.zst"))));
    console.log(`bare ${found.bare.at(-1)?.toFixed(0)} ms, product ${found.product.at(-1)?.toFixed(0)} ms`);
  }
  const [ours, bare] = [median(found.product), median(found.bare)];
  return { metrics: { apply_ms: ours, apply_ratio: ours / bare }, baseline: { apply_ms: bare } };
}

/** The very command line of the VM that was applied, which ends in `-incoming defer`, fed with the same file. */
async function bareIncoming(qemu: QemuProcess, ram: string): Promise<void> {
  await using bare = await openBareGuest(qemu);
  const path = join(qemu.folder, "run/bare.sock");
  await bare.qmp.run("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
  const loaded = bare.qmp.nextEvent(({ event, data }) => event === "MIGRATION" && data.status === "completed", 60_000);
  await bare.qmp.run("migrate-incoming", { uri: "unix:run/bare.sock" });
  await pipeline(createReadStream(ram), createZstdDecompress(), await connectUnix(path));
  await loaded;
  await bare.qmp.run("cont");
  await eventually(() => bare.guest.call("guest-ping").then(() => true), { deadlineMs: 60_000, everyMs: 5 });
}
