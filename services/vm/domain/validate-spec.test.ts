import { describe, expect, test } from "vitest";
import { type SpecToCheck, validateSpec } from "./validate-spec.ts";

const good: SpecToCheck = {
  image: "debian:12",
  cpus: 2,
  memoryBytes: 2 ** 28,
  rootSizeBytes: 0,
  disks: [{ sizeBytes: 2 ** 30 }],
  ports: [{ hostPort: 8080, guestPort: 80 }],
  userData: new Uint8Array(),
  hostSelector: { zone: "a" },
  kernelArgs: "quiet",
  fromCheckpoint: "",
  host: "",
  isolated: false,
  drillCommand: [],
};

describe("a good spec", () => {
  const digest = `@sha256:${"0123456789abcdef".repeat(4)}`;
  const cases: Partial<SpecToCheck>[] = [
    {},
    { cpus: 1, memoryBytes: 32 * 2 ** 20 },
    { cpus: 256, memoryBytes: 2 ** 42 },
    { image: `team/debian${digest}` },
    { image: `debian:12${digest}` },
    { image: "a__b/c-d.e/f" },
    {
      ports: [
        { hostPort: 1, guestPort: 65_535 },
        { hostPort: 2, guestPort: 65_535 },
      ],
    },
    { rootSizeBytes: 512 },
    { image: "", fromCheckpoint: "checkpoints/web@sha256:aa", rootSizeBytes: 512 },
    { host: "hosts/n1" },
    { isolated: true, ports: [] },
    { drillCommand: ["/bin/sh", "-c", ""] },
    { recovery: "RECOVERY_RESTART", recoveryPoint: { seconds: 60, nanos: 0 }, drain: "DRAIN_POLICY_MOVE" },
  ];
  for (const differs of cases) {
    test(JSON.stringify(differs), () => expect(validateSpec({ ...good, ...differs })).toEqual([]));
  }
});

describe("a bad spec names the field", () => {
  const cases: readonly [Partial<SpecToCheck>, string][] = [
    [{ image: "" }, "spec.image"],
    [{ image: "", fromCheckpoint: "checkpoints/web@sha256:aa" }, "spec.root_size_bytes"],
    [{ host: "n1" }, "spec.host"],
    [{ isolated: true }, "spec.ports"],
    [{ recovery: "RECOVERY_RESTART", host: "hosts/n1" }, "spec.recovery"],
    [{ recovery: "UNRECOGNIZED" }, "spec.recovery"],
    [{ recoveryPoint: { seconds: 59, nanos: 0 } }, "spec.recovery_point"],
    [{ recoveryPoint: { seconds: 604_801, nanos: 0 } }, "spec.recovery_point"],
    [{ drain: "UNRECOGNIZED" }, "spec.drain"],
    [
      { recovery: "RECOVERY_RESTART", disks: [{ sizeBytes: 512, excludeFromCheckpoints: true }] },
      "spec.disks[0].exclude_from_checkpoints",
    ],
    [{ drillCommand: ["", "-c"] }, "spec.drill_command"],
    [{ drillCommand: ["a\0b"] }, "spec.drill_command"],
    [{ drillCommand: Array.from({ length: 65 }, () => "x") }, "spec.drill_command"],
    [{ image: "Debian:12" }, "spec.image"],
    [{ image: "../etc/passwd" }, "spec.image"],
    [{ image: "debian@sha256:abc" }, "spec.image"],
    [{ cpus: 0 }, "spec.cpus"],
    [{ cpus: 257 }, "spec.cpus"],
    [{ memoryBytes: 32 * 2 ** 20 - 1 }, "spec.memory_bytes"],
    [{ memoryBytes: 2 ** 42 + 1 }, "spec.memory_bytes"],
    [{ rootSizeBytes: 1000 }, "spec.root_size_bytes"],
    [{ rootSizeBytes: -512 }, "spec.root_size_bytes"],
    [{ disks: [{ sizeBytes: 512 }, { sizeBytes: 0 }] }, "spec.disks[1].size_bytes"],
    [{ disks: Array.from({ length: 26 }, () => ({ sizeBytes: 512 })) }, "spec.disks"],
    [{ ports: [{ hostPort: 0, guestPort: 80 }] }, "spec.ports[0].host_port"],
    [{ ports: [{ hostPort: 80, guestPort: 65_536 }] }, "spec.ports[0].guest_port"],
    [
      {
        ports: [
          { hostPort: 80, guestPort: 80 },
          { hostPort: 80, guestPort: 81 },
        ],
      },
      "spec.ports[1].host_port",
    ],
    [{ userData: new Uint8Array(256 * 1024 + 1) }, "spec.user_data"],
    [{ hostSelector: { "": "a" } }, "spec.host_selector"],
    [{ hostSelector: { zone: "a b" } }, "spec.host_selector"],
    [{ kernelArgs: "quiet\ninit=/bin/sh" }, "spec.kernel_args"],
  ];
  for (const [differs, field] of cases) {
    test(`${field}: ${JSON.stringify(differs).slice(0, 80)}`, () => {
      expect(validateSpec({ ...good, ...differs }).map((problem) => problem.field)).toEqual([field]);
    });
  }

  test("each of several problems is named", () => {
    expect(validateSpec({ ...good, cpus: 0, memoryBytes: 0 })).toHaveLength(2);
  });
});
