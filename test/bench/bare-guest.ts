import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEmpty } from "#libs/disk-image";
import { eventually } from "#libs/testing";
import { GuestAgentChannel } from "../../services/agent/qemu/guest-agent.ts";
import { Qmp } from "../../services/agent/qemu/qmp.ts";
import { connectUnix } from "../../services/agent/qemu/socket.ts";
import { type QemuProcess, socketPath } from "../harness/qemu-process.ts";

/** A QEMU that runs by hand, with nothing over it: the baseline of every checkpoint. */
export interface BareGuest extends AsyncDisposable {
  readonly qmp: Qmp;
  readonly guest: GuestAgentChannel;
  /** Freeze, one transaction over prepared overlays of all disks, thaw. */
  readonly frozenWindow: () => Promise<FrozenWindow>;
  /** Stop, transaction, background snapshot into a socket that drops everything: milliseconds from STOP to RESUME. */
  readonly standardPauseMs: () => Promise<number>;
  /** Puts a new layer over each disk. */
  readonly addLayers: () => Promise<void>;
}

export interface FrozenWindow {
  /** Milliseconds from asking for the freeze to the thaw's reply. */
  readonly fromAskMs: number;
  /** Milliseconds from the freeze's reply to the thaw's. */
  readonly fromReplyMs: number;
}

/** Starts the command line of a VM that is off now, in its own folder, and waits for its agent. */
export async function startBareGuest(qemu: QemuProcess): Promise<BareGuest> {
  const bare = await openBareGuest(qemu);
  await eventually(() => bare.guest.call("guest-ping").then(() => true), { deadlineMs: 60_000 });
  await bare.qmp.run("migrate-set-capabilities", {
    capabilities: ["background-snapshot", "events"].map((capability) => ({ capability, state: true })),
  });
  await bare.qmp.run("migrate-set-parameters", { "max-bandwidth": 2 ** 40 });
  return bare;
}

/** The same without waiting for its agent: a command line with `-incoming` waits for RAM. */
export async function openBareGuest(qemu: QemuProcess): Promise<BareGuest> {
  const [program = "", ...args] = qemu.command;
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], cwd: qemu.folder });
  const exited = once(child, "exit");
  const qmp = await eventually(async () => Qmp.open(await connectUnix(socketPath(qemu, "qmp.sock"))), {
    deadlineMs: 10_000,
    everyMs: 2,
  });
  const guest = new GuestAgentChannel(socketPath(qemu, "agent.sock"));
  return {
    qmp,
    guest,
    frozenWindow: () => frozenWindow(qmp, guest, qemu.folder),
    standardPauseMs: () => standardPause(qmp, qemu.folder),
    addLayers: async () => void (await qmp.run("transaction", { actions: await prepareOverlays(qmp, qemu.folder) })),
    [Symbol.asyncDispose]: async () => {
      guest.close();
      qmp.close();
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function frozenWindow(qmp: Qmp, guest: GuestAgentChannel, folder: string): Promise<FrozenWindow> {
  const actions = await prepareOverlays(qmp, folder);
  const askedMs = performance.now();
  await guest.call("guest-fsfreeze-freeze", undefined, 30_000);
  const repliedMs = performance.now();
  await qmp.run("transaction", { actions });
  await guest.call("guest-fsfreeze-thaw", undefined, 30_000);
  const endMs = performance.now();
  return { fromAskMs: endMs - askedMs, fromReplyMs: endMs - repliedMs };
}

async function standardPause(qmp: Qmp, folder: string): Promise<number> {
  const path = join(tmpdir(), `bare-${crypto.randomUUID().slice(0, 8)}.sock`);
  const server = createServer((socket) => socket.resume()).listen(path);
  await once(server, "listening");
  const actions = await prepareOverlays(qmp, folder);
  const stopped = qmp.nextEvent(({ event }) => event === "STOP", 10_000);
  const resumed = qmp.nextEvent(({ event }) => event === "RESUME", 10_000);
  const completed = qmp.nextEvent(({ event, data }) => event === "MIGRATION" && data.status === "completed", 60_000);
  await qmp.run("stop");
  await qmp.run("transaction", { actions });
  await qmp.run("migrate", { uri: `unix:${path}` });
  await completed;
  server.close();
  return (await resumed).atMs - (await stopped).atMs;
}

interface BlockInfo {
  readonly qdev?: string;
  readonly inserted?: { readonly "node-name": string; readonly image: { readonly "virtual-size": number } };
}

/** New overlays, open and not yet in use; gives the transaction that puts each over the disk that is written to now. */
async function prepareOverlays(qmp: Qmp, folder: string): Promise<object[]> {
  const blocks = await qmp.run<BlockInfo[]>("query-block");
  const disks = blocks.filter(({ qdev }) => qdev?.includes("disk-")).map(({ inserted }) => inserted);
  if (disks.length === 0) throw new Error("the guest has no disk");
  return await Promise.all(disks.map((disk) => prepareOverlay(qmp, folder, disk)));
}

async function prepareOverlay(qmp: Qmp, folder: string, disk: BlockInfo["inserted"]): Promise<object> {
  if (disk === undefined) throw new Error("the guest's disk holds nothing");
  const overlay = `bare-${crypto.randomUUID().slice(0, 8)}`;
  const path = join(folder, "disks", `${overlay}.qcow2`);
  await createEmpty({ path, sizeBytes: disk.image["virtual-size"] });
  const file = { driver: "file", filename: path };
  await qmp.run("blockdev-add", { driver: "qcow2", "node-name": overlay, file, backing: null });
  return { type: "blockdev-snapshot", data: { node: disk["node-name"], overlay } };
}
