import { describe, expect, test } from "vitest";
import type { Writer } from "#contracts/vm/v1/vm";
import { findingsOf, type Seen } from "./findings.ts";
import type { GuestAnswers, GuestFacts } from "./guest-facts.ts";
import { parseInventory } from "./inventory.ts";
import { mountsOf } from "./mounts.ts";

const MiB = 2 ** 20;
const roomy = { free: 1024 * MiB, disks: 1, memory: 256 * MiB };
const memory = { blocked: [], slow: "" };
const writer = (state: string, detail = ""): Writer => ({ name: "redis", state, detail });

const ready: GuestAnswers = {
  state: "answers",
  version: "7.2.22",
  canFreeze: true,
  isFrozen: false,
  fileSystems: [{ mountpoint: "/", type: "ext4" }],
  hook: { path: "/etc/qemu/fsfreeze-hook", isThere: true },
  writers: [writer("ready")],
};

function codes(change: Partial<Seen> & { guest?: GuestFacts }): string[] {
  const { guest = ready } = change;
  const mounts = mountsOf(guest.state === "answers" ? (guest.fileSystems ?? []) : []);
  return findingsOf({ condition: "running", guest, mounts, memory, space: roomy, ...change }).map(({ code }) => code);
}

const guest = (change: Partial<GuestAnswers>): { guest: GuestFacts } => ({ guest: { ...ready, ...change } });
const file = (mountpoint: string, type: string) => ({ mountpoint, type });

describe("what is found in a guest", () => {
  test.each<[string, { guest: GuestFacts }, readonly string[]]>([
    ["all that is needed", { guest: ready }, []],
    ["no agent", { guest: { state: "absent" } }, ["agent.absent"]],
    ["a mute agent", { guest: { state: "unresponsive", detail: "it slept" } }, ["agent.unresponsive"]],
    ["frozen, which disables all else", guest({ isFrozen: true, canFreeze: false }), ["agent.already_frozen"]],
    ["freezing is blocked", guest({ canFreeze: false }), ["agent.rpc_disabled"]],
    ["started as Debian does", guest({ hook: { path: undefined, isThere: false } }), ["hooks.disabled"]],
    ["hooks that may not be asked for", guest({ hook: undefined }), ["hooks.unknown"]],
    ["a hook that is not there", guest({ hook: { path: "/opt/hook", isThere: false } }), ["hook.failed"]],
    ["no inventory", guest({ writers: undefined }), ["writers.unknown"]],
    ["no writers", guest({ writers: [] }), ["writers.missing"]],
    ["nothing to hold", guest({ writers: [writer("absent")] }), ["writers.missing"]],
    ["a writer that cannot", guest({ writers: [writer("ready"), writer("broken", "no socket")] }), ["hook.failed"]],
    ["mounts that may not be asked for", guest({ fileSystems: undefined }), ["mounts.unknown"]],
    ["nothing mounted", guest({ fileSystems: [] }), ["freeze.none_frozen"]],
    ["only what cannot freeze", guest({ fileSystems: [file("/", "vfat")] }), ["freeze.none_frozen"]],
    [
      "data on what cannot freeze",
      guest({ fileSystems: [file("/", "xfs"), file("/d", "vfat")] }),
      ["mount.not_freezable"],
    ],
    ["a boot loader's partition", guest({ fileSystems: [file("/", "btrfs"), file("/boot/efi", "vfat")] }), []],
    ["read-only images", guest({ fileSystems: [file("/", "ext4"), file("/snap/x", "squashfs")] }), []],
    ["Windows", guest({ fileSystems: [file("C:\\", "NTFS")], hook: undefined }), ["hooks.unknown"]],
    [
      "several things",
      guest({ canFreeze: false, hook: undefined, fileSystems: [file("/", "ext4"), file("/d", "exfat")] }),
      ["agent.rpc_disabled", "hooks.unknown", "mount.not_freezable"],
    ],
  ])("%s", (_, change, expected) => {
    expect(codes(change)).toEqual(expected);
  });

  test("a broken writer is named with what it said", () => {
    const seen = { condition: "running", mounts: mountsOf(ready.fileSystems ?? []), memory, space: roomy } as const;
    const [found] = findingsOf({ ...seen, guest: { ...ready, writers: [writer("broken", "no socket")] } });
    expect(found?.message).toContain("redis (no socket)");
  });
});

describe("what is found on the host", () => {
  const off = { mounts: [], space: roomy };
  const space = (free: number) => ({ space: { ...roomy, free: free * MiB } });
  const all = (seen: Seen) => findingsOf(seen).map(({ code }) => code);

  test.each<[string, Seen, readonly string[]]>([
    ["off", { condition: "off", ...off }, ["vm.off"]],
    ["crashed", { condition: "crashed", ...off }, ["vm.crashed"]],
    ["paused: its guest is not asked", { condition: "paused", ...off, memory }, ["vm.paused"]],
    ["off needs no room for RAM", { condition: "off", ...off, ...space(64) }, ["vm.off"]],
    ["off and no room", { condition: "off", ...off, ...space(63) }, ["vm.off", "space.insufficient"]],
  ])("%s", (_, seen, expected) => {
    expect(all(seen)).toEqual(expected);
  });

  test.each([
    [320, []],
    [319, ["space.insufficient_for_ram"]],
    [64, ["space.insufficient_for_ram"]],
    [63, ["space.insufficient"]],
  ])("with %d MiB free for a disk and 256 MiB of RAM", (free, expected) => {
    expect(codes(space(free))).toEqual(expected);
  });

  test.each([
    [{ blocked: ["0000:00:09.0/nvme"], slow: "" }, ["ram.blocked_device"]],
    [{ blocked: ["0000:00:09.0/nvme"], slow: "shared" }, ["ram.blocked_device"]],
    [{ blocked: [], slow: "shared" }, ["ram.uffd_unavailable"]],
  ])("RAM: %j", (obstacles, expected) => {
    expect(codes({ memory: obstacles })).toEqual(expected);
  });
});

describe("an inventory", () => {
  test("is read when it is one, and its words are cut", () => {
    const writers = [
      { name: "redis", state: "ready" },
      { name: "sqlite", state: "broken", detail: "x".repeat(300) },
    ];
    expect(parseInventory(JSON.stringify({ version: 1, dispatcher: "1", writers }))).toEqual([
      { name: "redis", state: "ready", detail: "" },
      { name: "sqlite", state: "broken", detail: "x".repeat(200) },
    ]);
  });

  test.each(["", "{", "[]", '{"version":2,"writers":[]}', '{"version":1,"writers":[{"name":1,"state":"ready"}]}'])(
    "%j is none",
    (text) => {
      expect(parseInventory(text)).toBeUndefined();
    },
  );
});
