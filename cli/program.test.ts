import { expect, test } from "vitest";
import type { CreateVmRequest } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import manifest from "../package.json" with { type: "json" };
import { fakeCluster, runWith } from "./testing/fake-cluster.ts";

import { accepted, running, succeeded } from "./testing/operations.ts";

test("vm create sends all that was asked, shows each step once, and says what is done", async () => {
  const requests: CreateVmRequest[] = [];
  await using cluster = await fakeCluster({
    vms: {
      async createVm(request) {
        requests.push(request);
        return accepted;
      },
    },
    operations: {
      async *watchOperation() {
        yield running("place");
        yield running("make-disks", "pulling debian:12");
        yield running("make-disks", "pulling debian:12");
        yield succeeded;
      },
    },
  });
  const line =
    "vm create web-1 --image debian:12 --cpus 2 --memory 1GiB --disk 10G --disk 512MiB --port 8080:80 --label a=b --checkpoint-type standard --start";
  expect(await cluster.run(line.split(" "))).toEqual({
    code: 0,
    out: "VM web-1 is made and runs.\n",
    err: "vm.create  choosing a host\nvm.create  make-disks: pulling debian:12\n",
  });
  expect(requests[0]).toMatchObject({
    parent: "projects/default",
    vmId: "web-1",
    start: true,
    labels: { a: "b" },
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    spec: {
      image: "debian:12",
      cpus: 2,
      memoryBytes: 2 ** 30,
      disks: [{ sizeBytes: 10 * 2 ** 30 }, { sizeBytes: 512 * 2 ** 20 }],
      ports: [{ hostPort: 8080, guestPort: 80 }],
      checkpointType: "CHECKPOINT_TYPE_STANDARD",
    },
  });
});

test("-o json is the ProtoJSON of the message, one document", async () => {
  await using cluster = await fakeCluster({
    vms: {
      createVm: async () => succeeded,
      listVms: async ({ pageToken }) =>
        pageToken === ""
          ? { vms: [{ name: "projects/default/vms/a", state: "VM_STATE_RUNNING" }], token: 7, nextPageToken: "7.a" }
          : { vms: [{ name: "projects/default/vms/b" }], token: 9 },
    },
  });
  const created = await cluster.run(["vm", "create", "a", "--image", "x", "-o", "json"]);
  expect(JSON.parse(created.out)).toEqual({ ...succeeded });
  const listed = await cluster.run(["vm", "list", "-o", "json"]);
  expect(JSON.parse(listed.out)).toEqual({
    vms: [{ name: "projects/default/vms/a", state: "VM_STATE_RUNNING" }, { name: "projects/default/vms/b" }],
    token: 7,
  });
  const yaml = await cluster.run(["-o", "yaml", "vm", "list"]);
  expect(yaml.out).toBe(
    "vms:\n  - name: projects/default/vms/a\n    state: VM_STATE_RUNNING\n  - name: projects/default/vms/b\ntoken: 7\n",
  );
});

test("a refused request exits 1 with the reason", async () => {
  await using cluster = await fakeCluster({
    vms: {
      getVm({ name }) {
        throw new StillpointError("VM_NOT_FOUND", `${name} was not found`);
      },
    },
  });
  expect(await cluster.run(["vm", "get", "web-1"])).toEqual({
    code: 1,
    out: "",
    err: "Error VM_NOT_FOUND: projects/default/vms/web-1 was not found\nList VMs with: stillpoint vm list\n",
  });
  expect(await cluster.run(["--project", "No", "vm", "get", "web-1"])).toMatchObject({
    code: 1,
    err: expect.stringContaining('Error NAME_INVALID: "No" is not a name for a project'),
  });
});

test("nobody there exits 3", async () => {
  const ran = await runWith({ STILLPOINT_ADDRESS: "127.0.0.1:1" }, ["vm", "list"]);
  expect(ran).toMatchObject({ code: 3, err: expect.stringContaining("Error UNAVAILABLE: cannot reach 127.0.0.1:1\n") });
});

test.each([
  ["no command", ["bogus"]],
  ["no name", ["vm", "get"]],
  ["too many", ["vm", "get", "a", "b"]],
  ["no image", ["vm", "create", "a"]],
  ["a wrong size", ["vm", "create", "a", "--image", "x", "--memory", "much"]],
  ["a wrong format", ["vm", "list", "-o", "xml"]],
  ["a wrong address", ["vm", "list", "--address", "nowhere"]],
  ["apply unconfirmed", ["checkpoint", "apply", "a", "b"]],
])("%s exits 2", async (_what, argv) => {
  const { code, err } = await runWith({}, argv);
  expect(code).toBe(2);
  expect(err).not.toBe("");
});

test("help is fast to reach and exits 0", async () => {
  const { code, out } = await runWith({}, ["checkpoint", "create", "--help"]);
  expect(code).toBe(0);
  expect(out).toContain("--type <type>");
  for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
});

test("vm exec passes output through and ends with the program's exit code", async () => {
  await using cluster = await fakeCluster({
    vms: {
      async *execVm({ command, stdin }) {
        yield { stdout: Buffer.from(`${command.join("|")} `) };
        yield { stdout: stdin, stderr: Buffer.from("careful\n") };
        yield { exitCode: 42 };
      },
    },
  });
  const readInput = async () => Buffer.from("typed");
  expect(await cluster.run(["vm", "exec", "a", "-i", "--", "sh", "-c", "x"], { readInput })).toEqual({
    code: 42,
    out: "sh|-c|x typed",
    err: "careful\n",
  });
});

test("apply asks a person, and does nothing unless told yes", async () => {
  const applied: string[] = [];
  await using cluster = await fakeCluster({
    checkpoints: {
      async applyCheckpoint({ name }) {
        applied.push(name);
        return succeeded;
      },
    },
  });
  const argv = ["checkpoint", "apply", "vm/a", "before / after"];
  expect(await cluster.run(argv, { ask: async () => "n" })).toMatchObject({ code: 1, err: "Nothing was done.\n" });
  expect(applied).toEqual([]);
  expect(await cluster.run(argv, { ask: async () => "yes" })).toMatchObject({ code: 0 });
  expect(await cluster.run([...argv, "--yes"])).toMatchObject({ code: 0 });
  expect(applied).toEqual(Array.from({ length: 2 }, () => "projects/default/vms/a/checkpoints/before / after"));
});

test("events are lines of JSON, one an event", async () => {
  await using cluster = await fakeCluster({
    events: {
      async *watchEvents({ since }) {
        yield { token: since, subject: "evt.vm.v1.started.default.a" };
        yield { token: "9", subject: "evt.vm.v1.stopped.default.a" };
      },
    },
  });
  const { out } = await cluster.run(["events", "--since", "7", "-o", "json"]);
  expect(
    out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { token: "7", subject: "evt.vm.v1.started.default.a" },
    { token: "9", subject: "evt.vm.v1.stopped.default.a" },
  ]);
});

test("an event names a checkpoint as people do, and says why", async () => {
  await using cluster = await fakeCluster({
    events: {
      async *watchEvents() {
        const resource = "projects/default/vms/a/checkpoints/ckpt-01a2048e-afd7-75f7-a597-c92f49c1516e";
        const data = { displayName: "before", reason: "agent.absent" };
        yield { type: "stillpoint.checkpoint.v1.fell_back", resource, data };
        yield { type: "stillpoint.vm.v1.paused", resource: "projects/default/vms/a", data: { reason: "paused" } };
      },
    },
  });
  const { out } = await cluster.run(["events"]);
  expect(out.trim().split("\n")).toEqual([
    'checkpoint.v1.fell_back         vms/a "before"  agent.absent',
    "vm.v1.paused                    vms/a",
  ]);
});

test("a usage error has a reason code, and the version is told", async () => {
  const { code, err } = await runWith({}, ["vm", "create", "a"]);
  expect({ code, err }).toEqual({
    code: 2,
    err: "Error ARGUMENT_INVALID: required option '--image <ref>' not specified\nRun \"stillpoint vm create --help\" for what it takes.\n",
  });
  expect(await runWith({}, ["--version"])).toEqual({ code: 0, out: `${manifest.version}\n`, err: "" });
});

test("vm get lists the root disk with the others", async () => {
  const spec = { rootSizeBytes: 2 ** 30, disks: [{ id: "disk1", sizeBytes: 2 ** 20 }] };
  await using cluster = await fakeCluster({
    vms: { getVm: async () => ({ name: "projects/default/vms/a", spec }) },
  });
  expect((await cluster.run(["vm", "get", "a"])).out).toMatch(/^Disks: +root 1 GiB\n +disk1 1 MiB$/m);
});

test("hosts, images and operations have tables", async () => {
  await using cluster = await fakeCluster({
    hosts: {
      listHosts: async ({ pageToken, withReservations }) => {
        const host = { state: "HOST_STATE_READY", capacity: { cpus: 8 }, reservationCount: 2 } as const;
        const reservations = withReservations ? [{ uid: "vm-1" }, { uid: "vm-2" }] : [];
        if (pageToken !== "") return { hosts: [{ name: "hosts/n2", ...host, reservations }] };
        return { hosts: [{ name: "hosts/n1", ...host, reservations }], nextPageToken: "7.n1" };
      },
      getHost: async ({ name }) => ({
        name,
        used: { cpus: 3, cpuMillis: 2_250 },
        capacity: { cpus: 8, cpuMillis: 8_000 },
        reservations: [
          { workload: "projects/default/vms/a", requirements: { cpus: 2, memoryBytes: 2 ** 30 } },
          { workload: "projects/default/containers/b", requirements: { cpuMillis: 250, memoryBytes: 2 ** 28 } },
        ],
      }),
    },
    images: { listImages: async () => ({ images: [{ reference: "debian:12", sizeBytes: 2 ** 20 }] }) },
    operations: { listOperations: async () => ({ operations: [running("boot")] }) },
  });
  const hosts = (await cluster.run(["host", "list"])).out;
  expect(hosts).toMatch(/^NAME .*\nn1 +ready +0 of 8 .* 2\nn2 +ready /);
  const json = JSON.parse((await cluster.run(["host", "list", "-o", "json"])).out);
  expect(json.hosts).toMatchObject([{ reservations: [{ uid: "vm-1" }, {}] }, { name: "hosts/n2" }]);
  const host = (await cluster.run(["host", "get", "n1"])).out;
  expect(host).toMatch(/^CPUs: +2.25 of 8$/m);
  expect(host).toMatch(
    /vms\/a \(CPUs 2, memory 1 GiB\)\n +projects\/default\/containers\/b \(CPUs 0.25, memory 256 MiB\)$/m,
  );
  expect((await cluster.run(["image", "list"])).out).toMatch(/^REFERENCE .*\ndebian:12 .* 1 MiB/);
  expect((await cluster.run(["operation", "list"])).out).toMatch(/^ID .*\nabc +vm.create +web-1 +running +boot/);
});
