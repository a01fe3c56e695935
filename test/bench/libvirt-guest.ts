import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createEmpty, createOverlay } from "#libs/disk-image";
import { eventually, temporaryFolder } from "#libs/testing";
import type { Guest } from "../guest/build.ts";
import { type CommandResult, runCommand } from "../harness/command.ts";
import { timed } from "./benchmark.ts";

/** A guest under libvirt: what its users have today. */
export interface LibvirtGuest extends AsyncDisposable {
  /** `snapshot-create-as --disk-only --atomic --quiesce`: milliseconds from the freeze's reply to the thaw's. */
  readonly frozenWindowMs: () => Promise<number>;
  /** `blockcommit --active --pivot`: milliseconds to merge all layers of a disk (vda, vdb, …) above `base` into it. */
  readonly commitMs: (disk: string, base: string) => Promise<number>;
  /** A new layer over each disk. */
  readonly addLayer: () => Promise<void>;
  /** The file that a disk is written to now. */
  readonly topFile: (disk: string) => Promise<string>;
  /** Runs a shell line in the guest to its end. */
  readonly shell: (line: string) => Promise<void>;
}

export interface LibvirtOptions {
  readonly guest: Guest;
  readonly memoryMiB: number;
  /** Size of each additional empty disk, in MiB. */
  readonly diskMiB: readonly number[];
}

/** "nobody": without rights to /dev/kvm, whose mere presence makes libvirt's probe hang on a host where KVM does. */
const user = "65534";
const domain = "bench";

/** Whether Debian's libvirt-daemon and libvirt-clients are installed. */
export async function hasLibvirt(): Promise<boolean> {
  const versions = await Promise.all(
    ["libvirtd", "virsh"].map((program) => runCommand(program, ["--version"]).catch(() => ({ code: 1 }))),
  );
  return versions.every(({ code }) => code === 0);
}

/** Starts a libvirtd of our own in session mode, and a guest in it; waits for the guest's agent. */
export async function startLibvirtGuest(options: LibvirtOptions): Promise<LibvirtGuest> {
  const folder = temporaryFolder();
  const daemon = await startDaemon(folder.path);
  const virsh = async (...args: string[]) => {
    const result = await runAs(folder.path, ["virsh", "-q", "-c", "qemu:///session", ...args]);
    if (result.code !== 0) throw new Error(`virsh ${args.join(" ")}: ${result.stderr.trim()}`);
    return result.stdout;
  };
  await writeFile(join(folder.path, "domain.xml"), await defineDomain(folder.path, options));
  await eventually(() => virsh("create", join(folder.path, "domain.xml")).then(() => true), { deadlineMs: 60_000 });
  const agent = (command: object) => virsh("qemu-agent-command", domain, JSON.stringify(command));
  await eventually(() => agent({ execute: "guest-ping" }).then(() => true), { deadlineMs: 60_000 });
  return {
    frozenWindowMs: async () => {
      await snapshot(virsh, "--quiesce");
      return await lastWindow(join(folder.path, "libvirtd.log"));
    },
    addLayer: () => snapshot(virsh),
    topFile: async (disk) => new RegExp(`${disk} +(\\S+)`).exec(await virsh("domblklist", domain))?.[1] ?? "",
    commitMs: (disk, base) =>
      timed(() => virsh("blockcommit", domain, disk, "--base", base, "--active", "--pivot", "--wait")),
    shell: (line) => runInGuest(agent, line),
    [Symbol.asyncDispose]: async () => {
      await virsh("destroy", domain).catch(() => undefined);
      daemon.kill("SIGTERM");
      await once(daemon, "exit");
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function startDaemon(folder: string): Promise<ChildProcess> {
  for (const name of ["run", "config", "cache"]) await mkdir(join(folder, name));
  const settings = [
    `log_filters="1:qemu.qemu_agent 3:*"`,
    `log_outputs="1:file:${join(folder, "libvirtd.log")}"`,
    "",
  ].join("\n");
  await writeFile(join(folder, "libvirtd.conf"), settings);
  await runCommand("chown", ["-R", `${user}:${user}`, folder]);
  await chmod(folder, 0o755);
  const [program = "", ...args] = asUser(["libvirtd", "--config", join(folder, "libvirtd.conf")]);
  return spawn(program, args, { stdio: "ignore", env: environment(folder) });
}

const asUser = (command: string[]) => ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", ...command];

const environment = (folder: string) => ({
  PATH: process.env.PATH ?? "",
  HOME: folder,
  XDG_RUNTIME_DIR: join(folder, "run"),
  XDG_CONFIG_HOME: join(folder, "config"),
  XDG_CACHE_HOME: join(folder, "cache"),
});

function runAs(folder: string, command: string[]): Promise<CommandResult> {
  const [program = "", ...args] = asUser(command);
  return runCommand(program, args, { env: environment(folder) });
}

/** The same machine as the product's, as far as libvirt's XML says it. */
async function defineDomain(folder: string, { guest, memoryMiB, diskMiB }: LibvirtOptions): Promise<string> {
  await copyFile(guest.kernel, join(folder, "vmlinuz"));
  await copyFile(guest.initrd, join(folder, "initrd"));
  await copyFile(guest.disk, join(folder, "base.raw"));
  await createOverlay({
    path: join(folder, "vda.qcow2"),
    backing: join(folder, "base.raw"),
    backingFormat: "raw",
  });
  const names = ["vda", ...diskMiB.map((_, index) => `vd${String.fromCharCode(98 + index)}`)];
  for (const [index, size] of diskMiB.entries()) {
    await createEmpty({ path: join(folder, `${names[index + 1]}.qcow2`), sizeBytes: size * 2 ** 20 });
  }
  await runCommand("chown", ["-R", `${user}:${user}`, folder]);
  const disks = names.map(
    (name) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` +
      `<source file='${folder}/${name}.qcow2'/><target dev='${name}' bus='virtio'/></disk>`,
  );
  return `<domain type='qemu'><name>${domain}</name><memory unit='MiB'>${memoryMiB}</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type><kernel>${folder}/vmlinuz</kernel><initrd>${folder}/initrd</initrd>
    <cmdline>${guest.cmdline}</cmdline></os><features><acpi/></features><devices>${disks.join("")}
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='file'><source path='${folder}/console.log'/></serial></devices></domain>`;
}

async function snapshot(virsh: (...args: string[]) => Promise<string>, ...options: string[]): Promise<void> {
  const name = `s-${crypto.randomUUID().slice(0, 8)}`;
  await virsh("snapshot-create-as", domain, name, "--disk-only", "--atomic", "--no-metadata", ...options);
}

/** From libvirt's own log: the reply to its last freeze and the one to its last thaw. */
async function lastWindow(log: string): Promise<number> {
  const lines = (await readFile(log, "utf8")).split("\n");
  const replyTo = (command: string) => {
    const sent = lines.findLastIndex((line) => line.includes(`"execute":"${command}"`));
    const reply = lines.slice(sent).find((line) => line.includes('Line [{"return"'));
    if (sent < 0 || reply === undefined) throw new Error(`libvirt's log has no reply to ${command}`);
    return Date.parse(reply.slice(0, 28).replace(" ", "T").replace("+0000", "Z"));
  };
  return replyTo("guest-fsfreeze-thaw") - replyTo("guest-fsfreeze-freeze");
}

async function runInGuest(agent: (command: object) => Promise<string>, line: string): Promise<void> {
  const call = async (execute: string, args: object) =>
    (JSON.parse(await agent({ execute, arguments: args })) as { return: { pid: number; exited: boolean } }).return;
  const { pid } = await call("guest-exec", { path: "/bin/sh", arg: ["-c", line] });
  await eventually(async () => (await call("guest-exec-status", { pid })).exited, { deadlineMs: 120_000 });
}
