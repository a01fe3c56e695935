import { describe, expect, test } from "vitest";
import { type SpecToCheck, validateSpec } from "./validate-spec.ts";

const good: SpecToCheck = {
  image: "web:1",
  fromCheckpoint: "",
  entrypoint: [],
  command: ["serve", ""],
  env: { PATH: "/bin", "java.opts": "" },
  workingDir: "/srv",
  user: "www-data:33",
  secrets: [{ name: "db.password", value: new Uint8Array(64 * 1024) }],
  volumes: [
    { volume: "data", path: "/var/lib/data", hostPath: "" },
    { volume: "", path: "/etc/app", hostPath: "/srv/app" },
  ],
  ports: [
    { hostPort: 53, containerPort: 53, protocol: "udp" },
    { hostPort: 53, containerPort: 53, protocol: "" },
  ],
  limits: { cpuMillis: 10, memoryBytes: 16 * 2 ** 20, pids: 1 },
  restart: { mode: "MODE_ON_FAILURE", maxRetries: 3 },
  healthCheck: { command: ["true"], retries: 0 },
  checkpointType: "CHECKPOINT_TYPE_UNSPECIFIED",
  quiesceCommand: ["quiesce"],
  pauseWindow: { seconds: 60, nanos: 0 },
  hostSelector: { zone: "a" },
  host: "hosts/n1",
  isolated: false,
  addCapabilities: ["NET_ADMIN"],
  dropCapabilities: ["ALL"],
  drain: "DRAIN_POLICY_MOVE",
};

test("a good spec is right", () => {
  expect(validateSpec(good)).toEqual([]);
  const least = { ...good, limits: undefined, restart: undefined, healthCheck: undefined, pauseWindow: undefined };
  expect(validateSpec({ ...least, image: "", fromCheckpoint: "checkpoints/web@sha256:aa" })).toEqual([]);
});

test("what has to stay on its host is not recovered elsewhere", () => {
  const recovered = { ...good, host: "", volumes: [], recovery: "RECOVERY_RESTART" };
  expect(validateSpec({ ...recovered, recoveryPoint: { seconds: 60, nanos: 0 } })).toEqual([]);
  const volume = { volume: "data", path: "/data", hostPath: "" };
  expect(validateSpec({ ...recovered, volumes: [volume] })).toEqual([]);
  const bad: readonly [Partial<SpecToCheck>, string][] = [
    [{ recoveryPoint: { seconds: 59, nanos: 0 } }, "spec.recovery_point"],
    [{ host: "hosts/n1" }, "spec.recovery"],
    [{ volumes: [{ ...volume, excludeFromCheckpoints: true }] }, "spec.volumes[0].exclude_from_checkpoints"],
    [{ volumes: [{ volume: "", path: "/data", hostPath: "/srv/data" }] }, "spec.volumes[0].host_path"],
    [{ recovery: "UNRECOGNIZED" }, "spec.recovery"],
  ];
  for (const [part, field] of bad) expect(validateSpec({ ...recovered, ...part })).toMatchObject([{ field }]);
});

describe("a bad spec names the field", () => {
  const port = { hostPort: 80, containerPort: 80, protocol: "tcp" };
  const volume = { volume: "a", path: "/a", hostPath: "" };
  const secret = { name: "a", value: new Uint8Array() };
  const check = { command: ["true"], retries: 0 };
  const cases: readonly [Partial<SpecToCheck>, string][] = [
    [{ image: "" }, "spec.image"],
    [{ image: "../etc/passwd" }, "spec.image"],
    [{ entrypoint: [""] }, "spec.entrypoint"],
    [{ command: ["a\0b"] }, "spec.command"],
    [{ command: ["x".repeat(33 * 1024)] }, "spec.command"],
    [{ env: { "A=B": "" } }, "spec.env"],
    [{ env: { A: "x\0" } }, "spec.env"],
    [{ env: { A: "x".repeat(65 * 1024) } }, "spec.env"],
    [{ workingDir: "srv" }, "spec.working_dir"],
    [{ workingDir: "/srv/../etc" }, "spec.working_dir"],
    [{ user: "a b" }, "spec.user"],
    [{ user: "1:2:3" }, "spec.user"],
    [{ user: "1:4294967295" }, "spec.user"],
    [{ secrets: [{ ...secret, name: ".." }] }, "spec.secrets[0].name"],
    [{ secrets: [secret, secret] }, "spec.secrets[1].name"],
    [{ secrets: [{ name: "a", value: new Uint8Array(64 * 1024 + 1) }] }, "spec.secrets[0].value"],
    [{ secrets: [1, 2, 3, 4, 5].map((i) => ({ name: `s${i}`, value: new Uint8Array(64 * 1024) })) }, "spec.secrets"],
    [{ volumes: [{ ...volume, volume: "A" }] }, "spec.volumes[0].volume"],
    [{ volumes: [volume, { ...volume, path: "/b" }] }, "spec.volumes[1].volume"],
    [{ volumes: [volume, { ...volume, volume: "b" }] }, "spec.volumes[1].path"],
    [{ volumes: [{ ...volume, hostPath: "/srv" }] }, "spec.volumes[0]"],
    [{ volumes: [{ ...volume, volume: "", hostPath: "/srv/../etc" }] }, "spec.volumes[0].host_path"],
    [{ volumes: [{ ...volume, path: "/" }] }, "spec.volumes[0].path"],
    [{ volumes: [{ ...volume, path: "/a:ro" }] }, "spec.volumes[0].path"],
    [{ volumes: [{ ...volume, path: "/proc/sys" }] }, "spec.volumes[0].path"],
    [{ volumes: [{ ...volume, path: "/run/secrets" }] }, "spec.volumes[0].path"],
    [
      { volumes: Array.from({ length: 33 }, (_, i) => ({ ...volume, volume: `a${i}`, path: `/a${i}` })) },
      "spec.volumes",
    ],
    [{ ports: [{ ...port, hostPort: 0 }] }, "spec.ports[0].host_port"],
    [{ ports: [{ ...port, containerPort: 65_536 }] }, "spec.ports[0].container_port"],
    [{ ports: [{ ...port, protocol: "sctp" }] }, "spec.ports[0].protocol"],
    [{ ports: [port, { ...port, protocol: "" }] }, "spec.ports[1].host_port"],
    [{ ports: Array.from({ length: 129 }, (_, i) => ({ ...port, hostPort: i + 1 })) }, "spec.ports"],
    [{ isolated: true }, "spec.ports"],
    [{ limits: { cpuMillis: 9, memoryBytes: 0, pids: 0 } }, "spec.limits.cpu_millis"],
    [{ limits: { cpuMillis: 0, memoryBytes: 2 ** 24 - 1, pids: 0 } }, "spec.limits.memory_bytes"],
    [{ limits: { cpuMillis: 0, memoryBytes: 0, pids: -1 } }, "spec.limits.pids"],
    [{ restart: { mode: "UNRECOGNIZED", maxRetries: 0 } }, "spec.restart.mode"],
    [{ restart: { mode: "MODE_ALWAYS", maxRetries: 1 } }, "spec.restart.max_retries"],
    [{ restart: { mode: "MODE_ON_FAILURE", maxRetries: -1 } }, "spec.restart.max_retries"],
    [{ healthCheck: { ...check, command: [] } }, "spec.health_check.command"],
    [{ healthCheck: { ...check, interval: { seconds: 0, nanos: 0 } } }, "spec.health_check.interval"],
    [{ healthCheck: { ...check, startPeriod: { seconds: 3_601, nanos: 0 } } }, "spec.health_check.start_period"],
    [{ healthCheck: { ...check, retries: 101 } }, "spec.health_check.retries"],
    [{ checkpointType: "UNRECOGNIZED" }, "spec.checkpoint_type"],
    [{ quiesceCommand: [""] }, "spec.quiesce_command"],
    [{ pauseWindow: { seconds: 61, nanos: 0 } }, "spec.pause_window"],
    [{ hostSelector: { zone: "a b" } }, "spec.host_selector"],
    [{ host: "n1" }, "spec.host"],
    [{ addCapabilities: ["ALL"] }, "spec.add_capabilities"],
    [{ addCapabilities: ["CAP_NET_ADMIN"] }, "spec.add_capabilities"],
    [{ dropCapabilities: ["net_admin"] }, "spec.drop_capabilities"],
    [{ drain: "UNRECOGNIZED" }, "spec.drain"],
  ];
  for (const [differs, field] of cases) {
    test(`${field}: ${JSON.stringify(differs).slice(0, 80)}`, () => {
      expect(validateSpec({ ...good, ...differs }).map((problem) => problem.field)).toEqual([field]);
    });
  }

  test("no message has a secret or a variable's value in it", () => {
    const value = new TextEncoder().encode("hunter2");
    const told = validateSpec({ ...good, secrets: [{ name: "/", value }], env: { A: "hunter2\0" } });
    expect(told).toHaveLength(2);
    expect(JSON.stringify(told)).not.toContain("hunter2");
  });
});
