import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { Socket } from "node:net";
import { standOn } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { LayerFile, MergeControl, OfflineMerge } from "../ports.ts";
import { QemuLayers } from "./block-graph.ts";
import { chainArguments } from "./command-line.ts";
import { qemuEnvironment } from "./process.ts";
import { Qmp } from "./qmp.ts";

const PROGRAM = "qemu-storage-daemon";
/** Where the daemon finds its end of the socket: after stdin, stdout and stderr. */
const CONTROL = 3;

/**
 * Merges layers of a disk that no machine has open, as a machine would: QEMU's block layer in a process of its own,
 * with the rights of the machine's user, which ends when this one does.
 */
export async function pullUpOffline(merge: OfflineMerge, control: MergeControl): Promise<void> {
  const into = merge.chain.at(-1);
  if (into === undefined) throw new StillpointError("INTERNAL", "there is no chain to merge");
  const { base } = merge;
  await withStorageDaemon(merge, (layers) => layers.copyUp(into, base, control));
  await using file = await open(into.path, "r");
  await file.datasync();
  await failpoint("agent.merge.copied");
  // Only now: whoever opens the file by its header reads the same at any time.
  await standOn(into.path, base && { backing: base.path, backingFormat: base.format });
  await file.datasync();
}

/** The same for a merge down. Only the layer that is written into is opened to be written to. */
export async function pushDownOffline(
  { into, ...merge }: Omit<OfflineMerge, "base"> & { readonly into: LayerFile },
  control: MergeControl,
): Promise<void> {
  const top = merge.chain.at(-1);
  if (top === undefined) throw new StillpointError("INTERNAL", "there is no chain to merge");
  const commit = { top, into, above: null, device: top.id };
  await withStorageDaemon({ ...merge, sealed: true }, (layers) =>
    layers.pushDown(commit, control, async () => undefined),
  );
  await using file = await open(into.path, "r");
  await file.datasync();
}

async function withStorageDaemon(
  { root, processUid, chain, sealed = false }: Omit<OfflineMerge, "base"> & { readonly sealed?: boolean },
  work: (layers: QemuLayers) => Promise<void>,
): Promise<void> {
  const monitor = ["--chardev", `socket,id=qmp,fd=${CONTROL}`, "--monitor", "chardev=qmp"];
  const nodes = chainArguments("--blockdev", root, chain, { sealed });
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", PROGRAM, ...monitor, ...nodes], {
    cwd: root,
    env: qemuEnvironment(),
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    ...(processUid === null ? {} : { uid: processUid, gid: processUid }),
  });
  let words = "";
  child.stderr?.on("data", (text: Buffer) => {
    words = text.toString().trim() || words;
  });
  const exited = once(child, "exit");
  exited.catch(() => undefined); // one that cannot be started is met below
  try {
    const [, , , socket] = child.stdio;
    if (!(socket instanceof Socket)) throw new Error(`${PROGRAM} has no control socket`);
    const qmp = await Qmp.open(socket);
    await work(new QemuLayers(qmp, root));
    await qmp.run("quit"); // closes each file, flushed
  } catch (cause) {
    child.kill("SIGKILL");
    if (words === "" || (cause instanceof StillpointError && cause.reason === "SPACE_INSUFFICIENT")) throw cause;
    throw new StillpointError("QEMU_FAILED", `${PROGRAM} failed: ${words}`, { cause });
  } finally {
    await exited;
  }
}
