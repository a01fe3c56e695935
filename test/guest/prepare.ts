import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const longestMs = 120_000;

/** Boots the guest of `folder` once, which does its work and powers off; throws what it said when that is not `proof`. */
export async function prepareByBooting(folder: string, cmdline: string, proof: string): Promise<void> {
  const console = join(folder, "console.log");
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512"],
    ...["-kernel", join(folder, "kernel"), "-initrd", join(folder, "initrd"), "-append", cmdline],
    ...["-drive", `if=none,format=raw,id=disk,file=${join(folder, "disk.raw")},cache=unsafe`],
    ...["-device", "virtio-blk-pci,drive=disk", "-serial", `file:${console}`],
  ];
  const failure = await run("qemu-system-x86_64", args, { timeout: longestMs, killSignal: "SIGKILL" }).then(
    () => undefined,
    (error: unknown) => error,
  );
  const said = await readFile(console, "utf8").catch(() => "");
  if (!said.includes(proof)) {
    throw new Error(`the guest did not prepare itself; it said:\n${said}`, { cause: failure });
  }
  await rm(console);
}
