import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ContainerSpec, ContainerState } from "#contracts/container/v1/container";
import { freePort } from "#libs/testing";
import { ContainerHost } from "../harness/container-host.ts";
import { baseImage, busyboxImage } from "../images/build.ts";

const MIB = 2 ** 20;
/** Numbers of capabilities, as the kernel has them. */
const [CAP_CHOWN, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_ADMIN] = [0, 5, 12, 21];
let host: ContainerHost;
let busybox: string;
let debian: string;
/** Below the root of the host that containers may mount from. */
let shared: string;

beforeAll(async () => {
  host = await ContainerHost.start((folder) => ({
    AGENT_CONTAINER_CAPABILITIES: "NET_ADMIN",
    AGENT_CONTAINER_HOST_ROOT: join(folder, "shared"),
  }));
  shared = join(host.folder, "shared");
  await mkdir(join(shared, "inner"), { recursive: true });
  await symlink("/etc", join(shared, "out"));
  busybox = await host.push(await busyboxImage(host.engine), "busybox");
  debian = await host.push(await baseImage(host.engine), "base");
}, 120_000);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

const secret = { name: "token", value: Buffer.from("s3cret-value") };
const volume = { volume: "data", path: "/data", readOnly: false, excludeFromCheckpoints: false, hostPath: "" };
const hostPath = (path: string) => ({ ...volume, volume: "", hostPath: path });

test("a container has what its spec says, keeps its volume, and nothing is left of it", async () => {
  let uid: string;
  {
    await using container = await host.create(debian, {
      command: ["sh", "-c", "echo out; echo err >&2; cat /data/kept; exec sleep 1000"],
      env: { GREETING: "hello there" },
      workingDir: "/srv",
      user: "nobody",
      secrets: [secret],
      volumes: [volume],
      limits: { cpuMillis: 500, memoryBytes: 64 * MIB, pids: 50 },
    });
    uid = container.uid;
    const { workload } = await container.start();
    expect(workload?.container).toMatchObject({ state: ContainerState.RUNNING, restarts: 0 });
    const seen = async (...command: string[]) => (await container.run(...command)).text.trim();
    expect(await seen("sh", "-c", 'echo "$GREETING $(pwd) $(id -u)"')).toBe("hello there /srv 65534");
    expect(await seen("cat", "/run/secrets/token")).toBe("s3cret-value");
    expect(await seen("stat", "-c", "%a %u", "/run/secrets/token")).toBe("400 65534");
    const inspected = await host.engine.docker.getContainer(uid).inspect();
    expect(JSON.stringify(inspected)).not.toMatch(/s3cret|czNjcmV0/);
    expect(inspected.HostConfig).toMatchObject({
      Memory: 64 * MIB,
      MemorySwap: 64 * MIB,
      PidsLimit: 50,
      NanoCpus: 5e8,
    });
    const limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    expect(Number(await seen("sh", "-c", limit))).toBe(64 * MIB);
    const quota = "cut -d' ' -f1 /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    expect(Number(await seen("sh", "-c", quota))).toBe(50_000);
    const forks = "for i in $(seq 100); do sleep 5 & done";
    expect((await container.run("sh", "-c", forks)).text).toMatch(/fork/i);
  }
  expect(await host.leftovers()).toEqual([]);
  expect(await readdir(join(host.folder, "agent/containers"))).toEqual([]);
  const memory = await readdir("/dev/shm", { recursive: true });
  expect(memory.filter((path) => path.includes(uid))).toEqual([]);
});

test("it sees only its own processes, host name and files, and may not become more than it is", async () => {
  await using container = await host.create(debian, {
    addCapabilities: ["CAP_NET_ADMIN"],
    dropCapabilities: ["chown"],
  });
  await container.start();
  const seen = async (command: string) => (await container.run("sh", "-c", command)).text.trim();
  expect(await seen("ls -d /proc/[0-9]* | wc -l")).toMatch(/^[1-9]$/);
  expect(await seen("cat /proc/1/comm")).toBe("docker-init");
  expect(await seen("cat /proc/sys/kernel/hostname")).toBe("test");
  expect(await seen("grep NoNewPrivs /proc/self/status")).toMatch(/1$/);
  expect(await seen("grep Seccomp: /proc/self/status")).toMatch(/2$/);
  const { HostConfig } = await host.engine.docker.getContainer(container.uid).inspect();
  expect(HostConfig).toMatchObject({ Privileged: false, PidMode: "", IpcMode: "private", UTSMode: "", UsernsMode: "" });
  expect(HostConfig).toMatchObject({ CgroupnsMode: "private" });
  const [bounding = ""] = /[0-9a-f]+$/.exec(await seen("grep CapBnd: /proc/self/status")) ?? [];
  const may = (capability: number) => (BigInt(`0x${bounding}`) >> BigInt(capability)) & 1n;
  expect([may(CAP_CHOWN), may(CAP_KILL), may(CAP_NET_ADMIN), may(CAP_SYS_ADMIN)]).toEqual([0n, 1n, 1n, 0n]);
});

test.each<[string, Partial<ContainerSpec>, string]>([
  ["a capability that the host does not allow", { addCapabilities: ["SYS_ADMIN"] }, "OPTION_FORBIDDEN"],
  ["every capability", { addCapabilities: ["ALL"] }, "OPTION_FORBIDDEN"],
  ["a folder elsewhere on the host", { volumes: [hostPath("/etc")] }, "OPTION_FORBIDDEN"],
  ["a way out of the root", { volumes: [hostPath("SHARED/../..")] }, "OPTION_FORBIDDEN"],
  ["a symbolic link out of the root", { volumes: [hostPath("SHARED/out")] }, "OPTION_FORBIDDEN"],
  ["a folder that is not there", { volumes: [hostPath("SHARED/none")] }, "OPTION_FORBIDDEN"],
  ["the root itself", { volumes: [hostPath("SHARED")] }, "OPTION_FORBIDDEN"],
  ["a mount over the kernel's files", { volumes: [{ ...volume, path: "/proc/sys" }] }, "OPTION_FORBIDDEN"],
  [
    "ports of an isolated one",
    { isolated: true, ports: [{ hostPort: 1, containerPort: 1, protocol: "" }] },
    "ARGUMENT_INVALID",
  ],
  ["a secret that is a path", { secrets: [{ ...secret, name: ".." }] }, "ARGUMENT_INVALID"],
  ["a user that the image does not have", { secrets: [secret], user: "who" }, "ARGUMENT_INVALID"],
  ["a program that the image does not have", { command: ["nosuch"] }, "COMMAND_NOT_FOUND"],
  ["a path without a program", { entrypoint: ["/etc/passwd"] }, "COMMAND_NOT_FOUND"],
  ["an image that is not there", { image: `base@sha256:${"0".repeat(64)}` }, "IMAGE_NOT_FOUND"],
])("%s is refused, and nothing is left", async (_what, change, reason) => {
  const volumes = (change.volumes ?? []).map((mount) => ({
    ...mount,
    hostPath: mount.hostPath.replace("SHARED", shared),
  }));
  await expect(host.create(debian, { ...change, volumes })).rejects.toMatchObject({ reason });
  expect(await host.leftovers()).toEqual([]);
});

test("a folder of the host is mounted, and one inside it by nobody else who could be led astray", async () => {
  await writeFile(join(shared, "inner/note"), "from the host");
  await using container = await host.create(debian, { volumes: [hostPath(join(shared, "inner"))] });
  await container.start();
  expect((await container.run("cat", "/data/note")).text).toBe("from the host");
  await mkdir(join(shared, "inner/deep"));
  const nested = host.create(debian, { volumes: [hostPath(join(shared, "inner/deep"))] });
  await expect(nested).rejects.toMatchObject({ reason: "OPTION_FORBIDDEN" });
});

test("containers of a project reach each other by name; those of another project and isolated ones nobody", async () => {
  const server = { command: ["httpd", "-f", "-p", "80", "-h", "/bin"] };
  const port = await freePort();
  const ports = [{ hostPort: port, containerPort: 80, protocol: "" }];
  await using web = await host.create(busybox, { ...server, ports }, "projects/one/containers/web");
  await using friend = await host.create(busybox, {}, "projects/one/containers/friend");
  await using stranger = await host.create(busybox, {}, "projects/two/containers/stranger");
  await using hermit = await host.create(busybox, { isolated: true }, "projects/one/containers/hermit");
  await Promise.all([web, friend, stranger, hermit].map((container) => container.start()));
  const connectFrom = (from: typeof web, at: string) => from.run("sh", "-c", `echo | nc -w 2 ${at} 80`);
  const { NetworkSettings } = await host.engine.docker.getContainer(web.uid).inspect();
  const address = Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? "";
  expect((await connectFrom(friend, address)).code).toBe(0);
  expect((await connectFrom(stranger, address)).code).not.toBe(0);
  const lookUp = (from: typeof web) => from.run("nslookup", "-type=a", "web", "127.0.0.11");
  expect((await lookUp(friend)).text).toContain(address);
  expect((await lookUp(stranger)).text).not.toContain(address);
  expect((await connectFrom(hermit, address)).code).not.toBe(0);
  expect((await hermit.run("sh", "-c", "ls /sys/class/net")).text.trim()).toBe("lo");
  expect((await fetch(`http://127.0.0.1:${port}/busybox`)).status).toBe(200);
});

test("a port that is taken is told, and the container starts once it is free", async () => {
  const port = await freePort();
  const taker = createServer().listen(port, "127.0.0.1");
  await using container = await host.create(busybox, {
    ports: [{ hostPort: port, containerPort: 80, protocol: "tcp" }],
  });
  await expect(container.start()).rejects.toMatchObject({ reason: "PORT_TAKEN" });
  await new Promise((resolve) => taker.close(resolve));
  await container.start();
});

test("an image for another architecture is refused", async () => {
  const { docker } = host.engine;
  const tag = "stillpoint-test/foreign:latest";
  const files = pack();
  files.entry({ name: "Dockerfile" }, "FROM scratch\nCOPY Dockerfile /\n");
  files.finalize();
  for await (const _ of await docker.buildImage(Readable.from(files), { t: tag, platform: "linux/arm64" }));
  const foreign = await host.push(tag, "foreign");
  await expect(host.create(foreign)).rejects.toMatchObject({ reason: "IMAGE_ARCHITECTURE" });
  await docker.getImage(tag).remove();
});
