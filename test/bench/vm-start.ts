import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { closeRpcClients } from "#libs/rpc";
import { importImage } from "../demo/database-story.ts";
import { buildGuest } from "../guest/build.ts";
import { startProduct } from "../harness/product.ts";
import { findQemus, type QemuProcess, socketPath } from "../harness/qemu-process.ts";
import { connectVms } from "../harness/vm-client.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";

const name = "projects/default/vms/bench-1";
const pairs = 7;

/** `vm start` until the guest's agent answers, through the whole control plane, against the same QEMU by hand. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using product = await startProduct();
  await importImage(product, await buildGuest(), "linux:bench");
  await product.json("vm", "create", "bench-1", "--image", "linux:bench", "--memory", "256MiB");
  const { vms, finish, untilVm } = connectVms(product.address);
  const start = async () => {
    const ready = untilVm(name, ({ guestAgent }) => guestAgent?.connected === true);
    await finish(await vms.startVm({ name }));
    await ready;
  };
  const stop = async () => {
    await finish(await vms.stopVm({ name, force: true }));
    await untilVm(name, ({ state, guestAgent }) => state === "VM_STATE_STOPPED" && guestAgent?.connected !== true);
  };
  await start();
  const [qemu] = await findQemus(product.folder);
  if (qemu === undefined) throw new Error("the VM's QEMU is not there");
  await stop();

  const product_ms: number[] = [];
  const byHand_ms: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    byHand_ms.push(await startByHand(qemu));
    product_ms.push(await timed(start));
    await stop();
    console.log(
      `pair ${pair + 1}: by hand ${byHand_ms.at(-1)?.toFixed(0)} ms, vm start ${product_ms.at(-1)?.toFixed(0)} ms`,
    );
  }
  await closeRpcClients();
  return {
    metrics: {
      start_ratio: median(product_ms) / median(byHand_ms),
      start_to_agent_ready_ms: median(product_ms),
    },
    baseline: { start_to_agent_ready_ms: median(byHand_ms) },
  };
}

/** Milliseconds from starting QEMU to the agent's first answer; the same command line, disks and guest. */
async function startByHand(qemu: QemuProcess): Promise<number> {
  const [program = "", ...args] = qemu.command;
  const startedMs = performance.now();
  const child = spawn(program, args, { stdio: "ignore", cwd: qemu.folder });
  const exited = once(child, "exit");
  const socket = await connectRetrying(socketPath(qemu, "agent.sock"));
  socket.write('\xff{"execute":"guest-sync-delimited","arguments":{"id":7}}\n', "latin1");
  await once(socket, "data");
  const ms = performance.now() - startedMs;
  socket.destroy();
  child.kill("SIGKILL");
  await exited;
  return ms;
}

async function connectRetrying(path: string, attempts = 2_000): Promise<Socket> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const socket = connect(path);
    const connected = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false),
    ]).catch(() => false);
    if (connected) return socket;
    socket.destroy();
    await sleep(5);
  }
  throw new Error(`nothing listens on ${path}`);
}
