import { expect, test } from "vitest";
import type { MachineSpec } from "../ports.ts";
import { commandLine, nodeName } from "./command-line.ts";

const root = "/data/workloads/vm-1";
const base = { id: "sha256:aa", path: "/data/images/sha256-aa/disk.raw", format: "raw" } as const;
const layer = { id: "l1", path: `${root}/disks/root/l1.qcow2`, format: "qcow2" } as const;
const spec: MachineSpec = {
  uid: "vm-1",
  root,
  cpus: 2,
  memoryBytes: 256 * 2 ** 20,
  machineType: "pc-q35-7.2",
  generationId: "5dd5a6c2-9f3c-4b4e-8a53-1f4b4b6f1a01",
  disks: [{ id: "root", chain: [base, layer] }],
  ports: [{ hostPort: 2222, guestPort: 22 }],
  isolated: false,
  fenced: false,
  processUid: 200_000,
};
const platform = { accelerator: "tcg", cpu: "max" } as const;

/** The values that follow an option, in order. */
function values(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ""] : []));
}

const options: [string, string, string][] = [
  ["pins the machine type", "-machine", "pc-q35-7.2,usb=off,vmport=off"],
  ["gives the memory in bytes", "-m", "268435456B"],
  [
    "lets QEMU do nothing that it need not",
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
  ],
  ["forwards ports from loopback only", "-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22"],
  ["keeps a machine whose guest has shut down until it is seen", "-action", "shutdown=pause"],
];

test.each(options)("the command line %s", (_what, option, value) => {
  expect(values(commandLine(spec, platform, false), option)).toContain(value);
});

test("disks are explicit nodes, base first, only the top one writable, with paths inside QEMU's folder", () => {
  const args = commandLine(spec, platform, false);
  const nodes = values(args, "-blockdev").map((json) => JSON.parse(json) as Record<string, unknown>);
  expect(nodes).toMatchObject([
    { driver: "raw", "read-only": true, file: { filename: "../../images/sha256-aa/disk.raw" } },
    { driver: "qcow2", "read-only": false, backing: nodeName(base.id), file: { filename: "disks/root/l1.qcow2" } },
  ]);
  expect(values(args, "-device")).toContain(
    `virtio-blk-pci,id=disk-root,drive=${nodeName("l1")},serial=root,bootindex=1`,
  );
});

test("an additional disk stands on nothing", () => {
  const disk1 = { id: "l2", path: `${root}/disks/disk1/l2.qcow2`, format: "qcow2" } as const;
  const args = commandLine({ ...spec, disks: [{ id: "disk1", chain: [disk1] }] }, platform, false);
  expect(JSON.parse(values(args, "-blockdev")[0] ?? "")).toMatchObject({ driver: "qcow2", backing: null });
});

test("a kernel's words are one argument, whatever they hold", () => {
  const kernel = { path: "/data/images/sha256-aa/kernel", cmdline: "quiet -incoming exec:id" };
  const args = commandLine({ ...spec, kernel }, platform, false);
  expect(values(args, "-append")).toEqual(["quiet -incoming exec:id"]);
  expect(values(args, "-kernel")).toEqual(["../../images/sha256-aa/kernel"]);
  expect(args).not.toContain("-incoming");
});

test("a machine that waits for RAM is told so", () => {
  expect(values(commandLine(spec, platform, true), "-incoming")).toEqual(["defer"]);
});

test("node names fit into QEMU's 31 characters and differ", () => {
  const names = ["sha256:aa", "01a2047d-106e-7476-bcac-5b9243595584", "01a2047d-106e-7476-bcac-5b9243595585"].map(
    nodeName,
  );
  expect(new Set(names).size).toBe(3);
  for (const name of names) expect(`${name}-f`).toMatch(/^[a-z][a-z0-9-]{1,30}$/);
});

test("an isolated machine keeps its network card, which reaches nothing", () => {
  const args = commandLine({ ...spec, ports: [], isolated: true }, platform, false);
  expect(values(args, "-netdev")).toEqual(["user,id=net0,restrict=on"]);
});
