import { type ChildProcess, spawn } from "node:child_process";
import { on, once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { eventually, temporaryFolder } from "#libs/testing";
import type { Guest } from "./build.ts";

/** A guest under QEMU, started by hand: no control plane. For the guest's own tests and as a baseline of benchmarks. */
export interface BootedGuest extends AsyncDisposable {
  readonly qemu: ChildProcess;
  /** Runs a QMP command. */
  qmp(command: string): Promise<void>;
  /** Waits until the guest agent answers. */
  ready(): Promise<void>;
  /** Calls the guest agent; throws its error's text. */
  agent<Result>(command: string, args?: Record<string, unknown>): Promise<Result>;
  /** Runs a program in the guest to its end and gives what it printed; throws that when the program failed. */
  exec(...command: string[]): Promise<string>;
}

/** The command line that the agent also uses, but for names; `disks` are further raw disks, written to. */
function commandLine(guest: Guest, folder: string, disks: readonly string[] = []): string[] {
  const drives = [`file=${guest.disk},snapshot=on`, ...disks.map((disk) => `file=${disk}`)];
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-sandbox", "on"],
    ...["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256"],
    ...["-kernel", guest.kernel, "-initrd", guest.initrd, "-append", guest.cmdline],
    ...drives.flatMap((drive, index) => [
      ...["-drive", `if=none,format=raw,id=disk${index},${drive}`],
      ...["-device", `virtio-blk-pci,drive=disk${index}`],
    ]),
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=ga,path=${folder}/agent.sock,server=on,wait=off`],
    ...["-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"],
    ...["-serial", `file:${folder}/console.log`, "-qmp", `unix:${folder}/qmp.sock,server=on,wait=off`],
  ];
}

/** Boots a guest whose first disk forgets all writes when QEMU ends; what was started ends with the scope. */
export async function bootGuest(guest: Guest, disks: readonly string[] = []): Promise<BootedGuest> {
  const folder = temporaryFolder();
  const qemu = spawn("qemu-system-x86_64", commandLine(guest, folder.path, disks), {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const agent = await openChannel(join(folder.path, "agent.sock"));
  const qmp = await openChannel(join(folder.path, "qmp.sock"));
  await qmp.call("qmp_capabilities");
  return {
    qemu,
    qmp: async (command) => void (await qmp.call(command)),
    ready: () => synchronise(agent),
    agent: <Result>(command: string, args?: Record<string, unknown>) => agent.call(command, args) as Promise<Result>,
    exec: (...command) => execute(agent, command),
    [Symbol.asyncDispose]: async () => {
      agent.close();
      qmp.close();
      if (qemu.exitCode === null && qemu.signalCode === null) {
        qemu.kill("SIGKILL");
        await once(qemu, "exit");
      }
      await folder[Symbol.asyncDispose]();
    },
  };
}

interface Channel {
  call(command: string, args?: Record<string, unknown>): Promise<unknown>;
  /** Drops every earlier answer; throws when `command` itself has not answered after `deadlineMs`. */
  synchronise(command: string, id: number, deadlineMs: number): Promise<void>;
  close(): void;
}

interface Reply {
  return?: unknown;
  error?: { desc: string };
}

/** One command at a time over a socket of JSON lines, QMP's and the guest agent's way; events are passed over. */
async function openChannel(path: string): Promise<Channel> {
  const socket = await eventually(() => connected(path));
  const lines = on(createInterface(socket), "line");
  let next: Promise<IteratorResult<string[]>> | undefined; // outlives a time-out, so that no line is lost
  const nextReply = async (signal: AbortSignal): Promise<Reply> => {
    for (;;) {
      next ??= lines.next();
      const { value } = await Promise.race([next, rejected(signal)]);
      next = undefined;
      const reply = JSON.parse(value[0]) as Reply;
      if ("return" in reply || reply.error) return reply;
    }
  };
  const send = (execute: string, args: object) => socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
  return {
    async call(command, args = {}) {
      send(command, args);
      const reply = await nextReply(AbortSignal.timeout(30_000));
      if (reply.error) throw new Error(`${command}: ${reply.error.desc}`);
      return reply.return;
    },
    async synchronise(command, id, deadlineMs) {
      send(command, { id });
      const signal = AbortSignal.timeout(deadlineMs);
      while ((await nextReply(signal)).return !== id);
    },
    close: () => socket.destroy(),
  };
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, "connect");
  return socket;
}

function rejected(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

/** Asks again and again: what was asked before the guest was there may be lost, or be answered late. */
async function synchronise(agent: Channel): Promise<void> {
  let id = 0;
  await eventually(() => agent.synchronise("guest-sync", ++id, 1_000).then(() => true), { deadlineMs: 60_000 });
}

async function execute(agent: Channel, [path, ...arg]: readonly string[]): Promise<string> {
  const started = await agent.call("guest-exec", { path, arg, "capture-output": true });
  const { pid } = started as { pid: number };
  const ended = await eventually(
    async () => {
      const status = (await agent.call("guest-exec-status", { pid })) as ExecStatus;
      return status.exited && status;
    },
    { deadlineMs: 30_000 },
  );
  const printed = Buffer.from(`${ended["out-data"] ?? ""}`, "base64").toString();
  if (ended.exitcode !== 0) throw new Error(`${path} ended with ${ended.exitcode}: ${printed}`);
  return printed.trim();
}

interface ExecStatus {
  exited: boolean;
  exitcode?: number;
  "out-data"?: string;
}
