import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { writeDurably } from "../durable-file.ts";
import type { Platform } from "./command-line.ts";

const run = promisify(execFile);
const PROGRAM = "qemu-system-x86_64";
const KVM_DEADLINE_MS = 3_000;
const QMP_DEADLINE_MS = 5_000;

const factsShape = z.object({
  bootId: z.string(),
  userfaultfd: z.string(),
  version: z.string(),
  accelerator: z.enum(["kvm", "tcg"]),
  backgroundSnapshot: z.boolean(),
});

/** What this host can do, tried and not guessed. */
export interface QemuFacts {
  /** For example "7.2.22". */
  readonly version: string;
  readonly platform: Platform;
  /** Whether RAM can be saved while the guest runs on, for a QEMU of user `uid`. */
  readonly backgroundSnapshot: boolean;
}

/**
 * Probes QEMU as the user that will run it; the answer is kept until the host boots again or is set up otherwise.
 * @throws StillpointError CAPABILITY_MISSING without QEMU
 */
export async function probeQemu(data: string, uid: number | null): Promise<QemuFacts> {
  const cache = join(data, "qemu-facts.json");
  const version = await qemuVersion();
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const userfaultfd = await readFile("/proc/sys/vm/unprivileged_userfaultfd", "utf8").catch(() => "");
  const known = await readFacts(cache);
  const fresh = known?.bootId === bootId && known.version === version && known.userfaultfd === userfaultfd;
  const facts = fresh
    ? known
    : {
        ...{ bootId, userfaultfd, version },
        accelerator: (await kvmBoots(data)) ? ("kvm" as const) : ("tcg" as const),
        backgroundSnapshot: await canSnapshotInBackground(uid),
      };
  if (!fresh) await writeDurably(cache, JSON.stringify(facts));
  const cpu = facts.accelerator === "kvm" ? "host" : "max,la57=off";
  const platform = { accelerator: facts.accelerator, cpu };
  return { version, platform, backgroundSnapshot: facts.backgroundSnapshot };
}

async function readFacts(path: string): Promise<z.infer<typeof factsShape> | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : factsShape.safeParse(JSON.parse(text)).data;
}

async function qemuVersion(): Promise<string> {
  try {
    const { stdout } = await run(PROGRAM, ["--version"]);
    return /version (\S+)/.exec(stdout)?.[1] ?? "unknown";
  } catch (cause) {
    const help = "Install qemu-system-x86.";
    throw new StillpointError("CAPABILITY_MISSING", `${PROGRAM} cannot be run`, { cause, help });
  }
}

/**
 * Boots the smallest guest under KVM: firmware of 64 KiB whose reset vector (its last 16 bytes) writes 0x10 to port
 * 0xf4, which isa-debug-exit turns into exit code 0x10 * 2 + 1. A host may have a /dev/kvm on which guests hang.
 */
async function kvmBoots(data: string): Promise<boolean> {
  await mkdir(data, { recursive: true });
  const folder = await mkdtemp(join(data, ".probe-"));
  try {
    const firmware = Buffer.alloc(65_536);
    // mov al, 0x10; mov dx, 0x00f4; out dx, al; hlt
    firmware.set([0xb0, 0x10, 0xba, 0xf4, 0x00, 0xee, 0xf4], 0xfff0);
    const path = join(folder, "firmware.bin");
    await writeFile(path, firmware);
    const args = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc-q35-7.2", "-accel", "kvm"];
    args.push("-cpu", "host", "-m", "16", "-bios", path, "-device", "isa-debug-exit,iobase=0xf4,iosize=1");
    const failure = await run(PROGRAM, args, { timeout: KVM_DEADLINE_MS, killSignal: "SIGKILL" }).then(
      () => undefined,
      (error: { code?: unknown }) => error,
    );
    return failure?.code === 0x10 * 2 + 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Asks a QEMU without a machine, run as the same user, whether the kernel gives it write protection of RAM. */
async function canSnapshotInBackground(uid: number | null): Promise<boolean> {
  const user = uid === null ? {} : { uid, gid: uid };
  const args = ["-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-qmp", "stdio"];
  const child = spawn(PROGRAM, args, { cwd: "/", stdio: ["pipe", "pipe", "ignore"], ...user });
  child.on("error", () => undefined);
  const timer = setTimeout(() => child.kill("SIGKILL"), QMP_DEADLINE_MS);
  const capabilities = [{ capability: "background-snapshot", state: true }];
  child.stdin.on("error", () => undefined);
  child.stdin.write(`${JSON.stringify({ execute: "qmp_capabilities" })}\n`);
  child.stdin.write(`${JSON.stringify({ execute: "migrate-set-capabilities", arguments: { capabilities }, id: 1 })}\n`);
  try {
    for await (const line of createInterface(child.stdout)) {
      const answer = JSON.parse(line) as { id?: number; return?: unknown };
      if (answer.id === 1) return answer.return !== undefined;
    }
    return false;
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
  }
}
