import { createHash } from "node:crypto";
import { relative } from "node:path";
import type { LayerFile, MachineDisk, MachineSpec } from "../ports.ts";

export interface Platform {
  readonly accelerator: "kvm" | "tcg";
  readonly cpu: string;
}

/**
 * QEMU's arguments. Paths are relative to the workload's folder, in which QEMU is started: so its own user needs no
 * right to walk the folders above, and socket names stay short.
 */
export function commandLine(spec: MachineSpec, platform: Platform, incoming: boolean): string[] {
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...["-name", `guest=${spec.uid},debug-threads=on`],
    ...["-machine", `${spec.machineType},usb=off,vmport=off`],
    ...["-accel", platform.accelerator === "kvm" ? "kvm" : "tcg,thread=multi"],
    ...["-cpu", platform.cpu, "-smp", String(spec.cpus), "-m", `${spec.memoryBytes}B`],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    // A guest that powers off stays as "shutdown" until the agent has seen it: so a missing QEMU is a crash.
    ...["-action", "shutdown=pause"],
    ...["-msg", "timestamp=on"],
    ...socket("qmp", "run/qmp.sock"),
    ...["-mon", "chardev=qmp,mode=control"],
    ...["-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"],
    ...["-device", "virtio-serial-pci,id=serial"],
    ...socket("agent", "run/agent.sock"),
    ...["-device", "virtserialport,bus=serial.0,chardev=agent,id=agent-port,name=org.qemu.guest_agent.0"],
    ...["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"],
    ...["-device", `vmgenid,guid=${spec.generationId}`],
    ...spec.disks.flatMap((disk, index) => diskArguments(spec.root, disk, index)),
    ...network(spec),
    ...boot(spec),
    ...(incoming ? ["-incoming", "defer"] : []),
  ];
}

/** The node of a layer in QEMU's block graph; names there hold at most 31 characters (block/block.h). */
export function nodeName(layer: string): string {
  return `n-${createHash("sha256").update(layer).digest("hex").slice(0, 24)}`;
}

/** A layer as `blockdev-add` takes it; `below` is the node under it, null for a layer that is put over one later. */
export function blockNode(layer: LayerFile, path: string, options: { below: string | null; readOnly: boolean }) {
  const file = { driver: "file", filename: path, "node-name": `${nodeName(layer.id)}-f` };
  const common = { "node-name": nodeName(layer.id), "read-only": options.readOnly, discard: "unmap", file };
  return layer.format === "raw" ? { driver: "raw", ...common } : { driver: "qcow2", ...common, backing: options.below };
}

/** The nodes of a chain, base first; only the top is written to, and not even that where it is sealed. */
export function chainArguments(
  option: string,
  root: string,
  chain: readonly LayerFile[],
  { sealed = false }: { readonly sealed?: boolean } = {},
): string[] {
  return chain.flatMap((layer, depth) => {
    const below = chain[depth - 1];
    const options = { below: below ? nodeName(below.id) : null, readOnly: sealed || depth < chain.length - 1 };
    return [option, JSON.stringify(blockNode(layer, relative(root, layer.path), options))];
  });
}

function diskArguments(root: string, disk: MachineDisk, index: number): string[] {
  const nodes = chainArguments("-blockdev", root, disk.chain);
  const top = disk.chain.at(-1);
  const drive = top === undefined ? "" : nodeName(top.id);
  const device = `virtio-blk-pci,id=disk-${disk.id},drive=${drive},serial=${disk.id},bootindex=${index + 1}`;
  return [...nodes, "-device", device];
}

function network(spec: MachineSpec): string[] {
  const forwards = spec.ports.map(({ hostPort, guestPort }) => `,hostfwd=tcp:127.0.0.1:${hostPort}-:${guestPort}`);
  const device = `virtio-net-pci,id=net0,netdev=net0,mac=${macAddress(spec.uid)},romfile=`;
  const restrict = spec.isolated ? ",restrict=on" : "";
  return ["-netdev", `user,id=net0${restrict}${forwards.join("")}`, "-device", device];
}

/** Stable for a VM; in QEMU's own range 52:54:00. */
function macAddress(uid: string): string {
  const tail = createHash("sha256").update(uid).digest("hex").slice(0, 6);
  return `52:54:00:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4)}`;
}

function boot({ root, kernel, seed }: MachineSpec): string[] {
  const cdrom =
    seed === undefined
      ? []
      : [
          ...[
            "-blockdev",
            `driver=raw,node-name=seed,read-only=on,file.driver=file,file.filename=${relative(root, seed)}`,
          ],
          ...["-device", "virtio-blk-pci,id=seed,drive=seed"],
        ];
  if (kernel === undefined) return cdrom;
  const initrd = kernel.initrd === undefined ? [] : ["-initrd", relative(root, kernel.initrd)];
  return [...cdrom, "-kernel", relative(root, kernel.path), ...initrd, "-append", kernel.cmdline];
}

function socket(id: string, path: string): string[] {
  return ["-chardev", `socket,id=${id},path=${path},server=on,wait=off`];
}
